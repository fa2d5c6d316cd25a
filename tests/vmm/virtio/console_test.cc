#include "vmm/virtio/console.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

class FakeSink : public ConsoleSink {
 public:
  void Write(std::span<const uint8_t> data) override { text.append(data.begin(), data.end()); }
  void InputRoom() override { ++rooms; }
  std::string text;
  int rooms = 0;
};

class ConsoleTest : public ::testing::Test {
 protected:
  void Start() {
    ASSERT_TRUE(driver_.Negotiate(kVirtioVersion1));
    driver_.EnableMsix(3);
    driver_.SetUpQueue(0, receive_);
    driver_.SetUpQueue(1, transmit_);
    driver_.Start();
    ASSERT_EQ(driver_.status(), 0x0f);
  }
  void Kick(uint16_t queue) {
    driver_.Notify(queue);
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  size_t Type(const std::string& text) {
    return device_->Receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  GuestRam ram_{{{0, 0x10000}}};
  DriverQueue receive_{ram_, 0x1000, 8}, transmit_{ram_, 0x2000, 8};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::shared_ptr<VirtioConsole> device_ = VirtioConsole::Create(sink_, *loop_);
  std::shared_ptr<VirtioPciTransport> transport_ =
      *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_);
  VirtioDriver driver_{*transport_};
};

TEST_F(ConsoleTest, WritesWhatTheGuestSends) {
  Start();
  ram_.Put(0x4000, {'h', 'e', 'l'});
  ram_.Put(0x5000, {'l', 'o'});
  transmit_.Post({{0x4000, 3}, {0x5000, 2}});
  Kick(1);
  EXPECT_EQ(sink_->text, "hello");
  EXPECT_EQ(transmit_.UsedIndex(), 1);
}

TEST_F(ConsoleTest, OneChainCannotHoldUpTheOthers) {
  Start();
  transmit_.Post({{0x4000, 0x8000}, {0x4000, 0x8000}});
  Kick(1);
  EXPECT_EQ(sink_->text.size(), 0x10000u);
  transmit_.Post({{0x4000, 0x8000}, {0x4000, 0x8000}, {0x4000, 1}});
  Kick(1);
  EXPECT_EQ(sink_->text.size(), 0x10000u);
  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
}

TEST_F(ConsoleTest, GivesInputToTheGuestAsItHasRoom) {
  EXPECT_EQ(Type("early"), 0u) << "no driver yet";
  Start();
  EXPECT_EQ(Type("no buffer"), 0u);
  receive_.Post({{0x4000, 4, true}});
  Kick(0);
  EXPECT_EQ(sink_->rooms, 1);
  EXPECT_EQ(Type("abcdef"), 4u);
  EXPECT_EQ(receive_.Used(0), (DriverQueue::UsedElement{0, 4}));
  EXPECT_EQ(ram_.Get(0x4000, 4), (std::vector<uint8_t>{'a', 'b', 'c', 'd'}));
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData + 1), 1u);
}

TEST_F(ConsoleTest, ABadRingEndsItUntilTheReset) {
  Start();
  receive_.SetAvailableIndex(100);
  EXPECT_EQ(Type("x"), 0u);
  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
  EXPECT_EQ(Type("x"), 0u);
  driver_.SetStatus(0);
  receive_.SetAvailableIndex(0);
  Start();
  receive_.Post({{0x4000, 4, true}});
  EXPECT_EQ(Type("x"), 1u);
}

}  // namespace
}  // namespace berth::vmm
