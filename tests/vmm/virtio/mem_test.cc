#include "vmm/virtio/mem.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kBlock = 2 << 20;
constexpr uint64_t kArea = 64 * kBlock;
constexpr uint64_t kAreaBase = uint64_t{4} << 30;
constexpr uint64_t kRequest = 0x4000, kResponse = 0x5000;
constexpr uint64_t kInaccessible = 1 << 1;
enum : uint16_t { kPlug = 0, kUnplug = 1, kUnplugAll = 2, kState = 3 };
enum : uint16_t { kAck = 0, kNack = 1, kBusy = 2, kError = 3 };

// Keeps the map as the machine does, and can be out of memory.
class FakePlugger : public MemoryPlugger {
 public:
  Status Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) override {
    if (full) return ResourceExhausted("no memory");
    EXPECT_FALSE(area.plug->Any(offset, length));
    area.plug->Set(offset, length, true);
    return OkStatus();
  }
  Status Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) override {
    EXPECT_TRUE(area.plug->All(offset, length));
    area.plug->Set(offset, length, false);
    return OkStatus();
  }
  bool full = false;
};

class VirtioMemTest : public ::testing::Test {
 protected:
  VirtioMemTest() {
    area_.base = Gpa{kAreaBase};
    area_.size = kArea;
    area_.zone = "z";
    area_.plug = std::make_shared<PlugMap>(kArea, kBlock);
    device_ = VirtioMem::Create(area_, 3, plugger_, *loop_);
    transport_ = *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  void Start() {
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1 | kInaccessible));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, queue_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  void RunOnce() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  // Type and state of the response.
  std::pair<uint16_t, uint16_t> Ask(uint16_t type, uint64_t address = 0, uint16_t blocks = 0) {
    ram_.PutObject<uint16_t>(kRequest, type);
    ram_.PutObject<uint64_t>(kRequest + 8, address);
    ram_.PutObject<uint16_t>(kRequest + 16, blocks);
    queue_.Post({{kRequest, 24}, {kResponse, 10, true}});
    driver_->Notify(0);
    RunOnce();
    return {ram_.GetObject<uint16_t>(kResponse), ram_.GetObject<uint16_t>(kResponse + 8)};
  }
  uint16_t Type(uint16_t type, uint64_t offset, uint16_t blocks) {
    return Ask(type, kAreaBase + offset, blocks).first;
  }
  template <class T>
  T Config(uint64_t offset) {
    return driver_->Read<T>(VirtioPciTransport::kDeviceOffset + offset);
  }

  GuestRam ram_{{{0, 0x10000}}};
  DriverQueue queue_{ram_, 0x1000, 8};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  FakePlugger plugger_;
  MemoryRegion area_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::shared_ptr<VirtioMem> device_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
};

TEST_F(VirtioMemTest, TellsItsAreaAndWhatIsRequested) {
  ASSERT_TRUE(device_->Request(4 * kBlock).ok());

  EXPECT_EQ(driver_->DeviceFeatures() & 3, 3u);
  EXPECT_EQ(Config<uint64_t>(0), kBlock);
  EXPECT_EQ(Config<uint16_t>(8), 3u);
  EXPECT_EQ(Config<uint64_t>(16), kAreaBase);
  EXPECT_EQ(Config<uint64_t>(24), kArea);
  EXPECT_EQ(Config<uint64_t>(32), kArea);
  EXPECT_EQ(Config<uint64_t>(40), 0u);
  EXPECT_EQ(Config<uint64_t>(48), 4 * kBlock);
}

TEST_F(VirtioMemTest, PlugsWhatIsRequestedAndNoMore) {
  ASSERT_TRUE(device_->Request(4 * kBlock).ok());
  Start();

  EXPECT_EQ(Type(kPlug, 8 * kBlock, 3), kAck);
  EXPECT_EQ(device_->plugged(), 3 * kBlock);
  EXPECT_EQ(Config<uint64_t>(40), 3 * kBlock);
  EXPECT_EQ(Type(kPlug, 0, 2), kNack) << "more than requested";
  EXPECT_EQ(Type(kPlug, 10 * kBlock, 1), kError) << "plugged already";
  EXPECT_EQ(Type(kPlug, 0, 1), kAck);
  EXPECT_EQ(Ask(kState, kAreaBase + 8 * kBlock, 3), (std::pair<uint16_t, uint16_t>(kAck, 0)));
  EXPECT_EQ(Ask(kState, kAreaBase + kBlock, 3), (std::pair<uint16_t, uint16_t>(kAck, 1)));
  EXPECT_EQ(Ask(kState, kAreaBase, 3), (std::pair<uint16_t, uint16_t>(kAck, 2)));
}

TEST_F(VirtioMemTest, AsksForLessByAnInterruptAndTakesBlocksBack) {
  ASSERT_TRUE(device_->Request(4 * kBlock).ok());
  Start();
  ASSERT_EQ(Type(kPlug, 0, 4), kAck);
  const size_t before = interrupts_.Count(VirtioDriver::kMsiData);

  ASSERT_TRUE(device_->Request(kBlock).ok());

  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), before + 1);
  EXPECT_EQ(Type(kUnplug, kBlock, 3), kAck);
  EXPECT_EQ(Type(kUnplug, kBlock, 1), kError) << "not plugged";
  EXPECT_EQ(device_->plugged(), kBlock);
  EXPECT_EQ(Type(kUnplugAll, 0, 0), kAck);
  EXPECT_EQ(device_->plugged(), 0u);
}

TEST_F(VirtioMemTest, RefusesRangesThatAreNotWholeBlocksOfTheArea) {
  ASSERT_TRUE(device_->Request(kArea).ok());
  Start();

  for (uint16_t type : {kPlug, kUnplug, kState}) {
    EXPECT_EQ(Ask(type, kAreaBase - kBlock, 1).first, kError);
    EXPECT_EQ(Ask(type, kAreaBase + 4096, 1).first, kError);
    EXPECT_EQ(Ask(type, kAreaBase, 0).first, kError);
    EXPECT_EQ(Ask(type, kAreaBase, 65).first, kError);
    EXPECT_EQ(Ask(type, kAreaBase + kArea, 1).first, kError);
    EXPECT_EQ(Ask(type, UINT64_MAX - kBlock + 1, 65535).first, kError);
  }
  EXPECT_EQ(Ask(9, kAreaBase, 1).first, kError);
  EXPECT_EQ(device_->plugged(), 0u);
}

TEST_F(VirtioMemTest, IsBusyWhenTheHostHasNoMemory) {
  ASSERT_TRUE(device_->Request(kArea).ok());
  Start();
  plugger_.full = true;
  EXPECT_EQ(Type(kPlug, 0, 1), kBusy);
  plugger_.full = false;
  EXPECT_EQ(Type(kPlug, 0, 1), kAck);
}

TEST_F(VirtioMemTest, NeedsADriverThatKnowsInaccessibleMemory) {
  ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
  driver_->SetUpQueue(0, queue_);
  driver_->Start();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(VirtioMemTest, ARequestThatIsCutShortBreaksTheRules) {
  Start();
  queue_.Post({{kRequest, 20}, {kResponse, 10, true}});
  driver_->Notify(0);
  RunOnce();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(VirtioMemTest, RequestsAreWholeBlocksUpToTheArea) {
  EXPECT_EQ(device_->Request(kArea + kBlock).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(device_->Request(4096).message(), "zone z can have 0 to 128M added, in multiples of 2M, not 4K");
  EXPECT_TRUE(device_->Request(kArea).ok());
}

}  // namespace
}  // namespace berth::vmm
