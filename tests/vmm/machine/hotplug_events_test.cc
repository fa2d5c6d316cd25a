#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/file.h"
#include "tests/vmm/machine/hotplug_fixture.h"
#include "vmm/machine/event_monitor.h"

namespace berth::vmm {
namespace {

// Nobody asks: the events tell how it went.
class HotplugEventsTest : public HotplugTest {
 protected:
  void SetUp() override {
    HotplugTest::SetUp();
    monitor_ = *EventMonitor::Open(directory_ + "/events");
    control_ = std::thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  }
  void TearDown() override {
    loop_->Stop();
    control_.join();
    HotplugTest::TearDown();
  }
  void StartWithMonitor() {
    auto machine = Machine::Create(kvm_, config_, *loop_, [](MachineEnd) {}, monitor_.get());
    ASSERT_TRUE(machine.has_value()) << machine.error().ToString();
    machine_ = *std::move(machine);
    ASSERT_TRUE(machine_->Boot().ok());
  }
  // Of changes, in their order, when there are so many of them: "vcpus 3 of 3 Done".
  std::vector<std::string> Changes(size_t count) {
    std::vector<std::string> changes;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (changes.size() < count && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      changes.clear();
      std::istringstream lines(*ReadFile(directory_ + "/events"));
      for (std::string line; std::getline(lines, line);) {
        const auto event = nlohmann::json::parse(line, nullptr, false);
        if (!event.is_object() || event["event"] != "hotplug_changed") continue;
        EXPECT_EQ(event["source"], "vm");
        const auto text = [&event](const char* name) { return event["properties"][name].get<std::string>(); };
        changes.push_back(text("subject") + " " + text("actual") + " of " + text("wanted") + " " +
                          text("state"));
      }
    }
    return changes;
  }

  std::unique_ptr<EventMonitor> monitor_;
  std::thread control_;
};

TEST_F(HotplugEventsTest, WhatTheGuestHasDoneIsTold) {
  config_.cpus.max = 4;
  config_.memory.hotplug_size = GiB(1);
  StartWithMonitor();
  ASSERT_TRUE(Resize(3, std::nullopt).ok());
  EXPECT_EQ(Changes(1), (std::vector<std::string>{"vcpus 3 of 3 Done"}));

  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(Changes(1).size(), 1u) << "the guest has not looked";
  const uint64_t registers = kPlatform + layout::kMemoryHotplugOffset;
  Guest({ScriptedExit::MmioWrite(registers + 24, Bytes(0)), ScriptedExit::MmioWrite(registers + 28, {2})});
  EXPECT_EQ(Changes(2),
            (std::vector<std::string>{"vcpus 3 of 3 Done", "memory 201326592 of 201326592 Done"}));
}

TEST_F(HotplugEventsTest, AGuestThatTakesItsTimeIsToldOfTwice) {
  std::ofstream(directory_ + "/image") << std::string(1 << 20, 'x');
  StartWithMonitor();
  ASSERT_TRUE(machine_->AddDevice("disk", R"({"path":")" + directory_ + R"(/image"})").has_value());
  EXPECT_EQ(Changes(1), (std::vector<std::string>{"device disk0 1 of 1 Done"}));
  ASSERT_TRUE(machine_->RemoveDevice("disk0", std::chrono::milliseconds(20)).ok());
  EXPECT_EQ(Changes(2).back(), "device disk0 1 of 0 TimedOut");

  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2))});

  EXPECT_EQ(Changes(3).back(), "device disk0 0 of 0 Done");
}

TEST_F(HotplugEventsTest, WhatIsNotDoneWhenTheGuestEndsIsToldAsDropped) {
  config_.memory.hotplug_size = GiB(1);
  StartWithMonitor();
  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());

  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());

  EXPECT_EQ(Changes(1), (std::vector<std::string>{"memory 0 of 201326592 Dropped"}));
}

TEST_F(HotplugEventsTest, AMachineGoesWhileItIsAskedForSomething) {
  config_.memory.hotplug_size = GiB(1);
  for (int round = 0; round < 20; ++round) {
    StartWithMonitor();
    ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    machine_.reset();
  }
}

}  // namespace
}  // namespace berth::vmm
