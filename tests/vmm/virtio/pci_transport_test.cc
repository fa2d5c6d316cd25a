#include "vmm/virtio/pci_transport.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/pci_root.h"
#include "vmm/virtio/event_fd.h"

namespace berth::vmm {
namespace {

// Two queues and eight bytes of configuration; remembers what it was told.
class FakeVirtioDevice : public VirtioDevice {
 public:
  uint16_t type() const override { return kVirtioRng; }
  uint64_t features() const override { return 0x5; }
  std::span<const uint16_t> queue_sizes() const override {
    static constexpr uint16_t kSizes[] = {16, 8};
    return kSizes;
  }
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override {
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(0xa0 + offset + i);
  }
  void WriteConfig(uint64_t offset, std::span<const uint8_t>) override { config_writes.push_back(offset); }
  Status Activate(VirtioActivation given) override {
    if (refuse) return InvalidArgument("refused");
    activation = std::move(given);
    return OkStatus();
  }
  void Reset() override {
    ++resets;
    activation.reset();
  }

  std::vector<uint64_t> config_writes;
  std::optional<VirtioActivation> activation;
  bool refuse = false;
  int resets = 0;
};

constexpr uint64_t kWindow = 0x1000000000;

class TransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    BarAllocator bars({0xc0000000, 0x1000000}, {kWindow, 0x100000000});
    ASSERT_TRUE(bars.Place(transport_->config()).ok());
    ASSERT_EQ(*segment_->Add(transport_, "device"), 1u);
    SetCommand(6);
  }
  void SetCommand(uint16_t value) {
    segment_->Write(kSlot1 + 4, {reinterpret_cast<const uint8_t*>(&value), 2});
  }
  bool StartWithBothQueues(uint64_t features = kVirtioVersion1) {
    if (!driver_.Negotiate(features)) return false;
    driver_.EnableMsix(3);
    driver_.SetUpQueue(0, queue0_);
    driver_.SetUpQueue(1, queue1_);
    driver_.Start();
    return true;
  }
  uint8_t FindCapability(uint8_t type) {
    PciConfigSpace& config = transport_->config();
    uint32_t at = config.Read16(0x34) & 0xff;
    while (at != 0 && !((config.Read16(at) & 0xff) == 9 && config.Read16(at + 2) >> 8 == type)) {
      at = config.Read16(at) >> 8;
    }
    return static_cast<uint8_t>(at);
  }
  static bool Kicked(int fd) {
    pollfd poll_fd{fd, POLLIN, 0};
    return poll(&poll_fd, 1, 0) == 1;
  }

  static constexpr uint64_t kSlot1 = 1 << 15;
  GuestRam ram_{{{0, 0x10000}}};
  DriverQueue queue0_{ram_, 0x1000, 16};
  DriverQueue queue1_{ram_, 0x3000, 8};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  Bus mmio_;
  std::shared_ptr<FakeVirtioDevice> device_ = std::make_shared<FakeVirtioDevice>();
  std::shared_ptr<VirtioPciTransport> transport_ =
      *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_);
  VirtioDriver driver_{*transport_};
  std::shared_ptr<PciSegment> segment_ = std::make_shared<PciSegment>(
      0, mmio_, std::vector<PciWindow>{{0xc0000000, 0x1000000}, {kWindow, 0x100000000}});
};

TEST_F(TransportTest, IdentifiesItselfAsAModernDevice) {
  EXPECT_EQ(transport_->config().Read32(0), 0x10441af4u);
  EXPECT_EQ(transport_->config().Read16(8) & 0xff, 1);
  EXPECT_EQ(interrupts_.routes(), 3u);
}

TEST_F(TransportTest, ListsAllCapabilitiesWithPlacesInTheBar) {
  struct Expected {
    uint8_t type;
    uint32_t offset;
    uint32_t length;
  };
  for (const Expected& expected :
       {Expected{1, 0, 56}, Expected{2, 0x3000, 8}, Expected{3, 0x1000, 1}, Expected{4, 0x2000, 0x1000}}) {
    const uint32_t at = FindCapability(expected.type);
    ASSERT_NE(at, 0u) << int{expected.type};
    EXPECT_EQ(transport_->config().Read32(at + 8), expected.offset);
    EXPECT_EQ(transport_->config().Read32(at + 12), expected.length);
  }
  EXPECT_EQ(transport_->config().Read32(FindCapability(2) + 16u), 4u);  // notify multiplier
  const uint32_t msix = driver_.MsixCapability();
  EXPECT_EQ(transport_->config().Read16(msix + 2), 2);  // three vectors
  EXPECT_EQ(transport_->config().Read32(msix + 4), 0x8000u);
  EXPECT_EQ(transport_->config().Read32(msix + 8), 0xc000u);
}

TEST_F(TransportTest, AcceptsOnlyOfferedFeaturesAndOnlyModernDrivers) {
  EXPECT_EQ(driver_.DeviceFeatures(), 0x5 | kVirtioVersion1 | kVirtioIndirect | kVirtioEventIdx);
  EXPECT_FALSE(driver_.Negotiate(0x5));
  EXPECT_FALSE(driver_.Negotiate(kVirtioVersion1 | 0x2));
  EXPECT_FALSE(driver_.Negotiate(kVirtioVersion1 | uint64_t{1} << 63));
  EXPECT_TRUE(driver_.Negotiate(kVirtioVersion1 | 0x4));
}

// I/O addresses are guest-physical ones and this.
class ShiftedAddresses final : public AddressTranslator {
 public:
  static constexpr uint64_t kShift = 0x7000000;
  explicit ShiftedAddresses(const GuestMemory& memory) : memory_(memory) {}
  Status Translate(uint64_t address, uint64_t size, bool, std::vector<std::span<uint8_t>>& pieces) override {
    if (unmapped || address < kShift) return NotFound("not mapped");
    TRY_ASSIGN(const auto span, memory_.Span(Gpa{address - kShift}, size));
    pieces.push_back(span);
    return OkStatus();
  }
  uint64_t generation() const override { return 0; }

  bool unmapped = false;

 private:
  const GuestMemory& memory_;
};

TEST_F(TransportTest, BehindAnIommuItWantsADriverThatKnows) {
  auto behind = *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_,
                                            std::make_shared<ShiftedAddresses>(ram_.memory()));
  VirtioDriver driver(*behind);
  EXPECT_TRUE(driver.DeviceFeatures() & kVirtioAccessPlatform);
  EXPECT_FALSE(driver.Negotiate(kVirtioVersion1));
  ASSERT_TRUE(driver.Negotiate(kVirtioVersion1 | kVirtioAccessPlatform));
  driver.SetUpQueue(0, queue0_);
  driver.Start();
  EXPECT_TRUE(driver.status() & VirtioDriver::kNeedsReset);  // guest-physical addresses lead nowhere

  ASSERT_TRUE(driver.Negotiate(kVirtioVersion1 | kVirtioAccessPlatform));
  driver.SetUpQueue(0, DriverQueue(ram_, queue0_.descriptors() + ShiftedAddresses::kShift, 16));
  driver.Start();
  ASSERT_TRUE(device_->activation);
  queue0_.Post({{ShiftedAddresses::kShift + 0x5000, 8}});
  DescriptorChain chain;
  ASSERT_TRUE(*device_->activation->queues[0].ring->Pop(chain));
  ram_.Put(0x5000, {42});
  uint8_t byte = 0;
  chain.readable.CopyOut(0, {&byte, 1});
  EXPECT_EQ(byte, 42);
}

// What the driver has unmapped without a word to the device is no reason to refuse the whole machine.
TEST_F(TransportTest, ComesBackFromASnapshotWithoutItsRingsAndAsksForAReset) {
  auto addresses = std::make_shared<ShiftedAddresses>(ram_.memory());
  auto behind = *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_, addresses);
  VirtioDriver driver(*behind);
  ASSERT_TRUE(driver.Negotiate(kVirtioVersion1 | kVirtioAccessPlatform));
  driver.SetUpQueue(0, DriverQueue(ram_, queue0_.descriptors() + ShiftedAddresses::kShift, 16));
  driver.Start();
  ASSERT_TRUE(device_->activation);
  StateWriter out;
  behind->Save(out);
  const std::vector<uint8_t> saved = std::move(out).Take();
  auto device = std::make_shared<FakeVirtioDevice>();
  auto restored = *VirtioPciTransport::Create(device, ram_.memory(), interrupts_, io_events_, addresses);
  VirtioDriver same(*restored);
  addresses->unmapped = true;

  StateReader in(saved);
  restored->Load(in);

  ASSERT_EQ(in.Finish(), OkStatus());
  EXPECT_FALSE(same.status() & VirtioDriver::kNeedsReset) << "the guest does not run yet";
  restored->Resume();
  EXPECT_TRUE(same.status() & VirtioDriver::kNeedsReset);
  EXPECT_FALSE(device->activation);
  addresses->unmapped = false;
  ASSERT_TRUE(same.Negotiate(kVirtioVersion1 | kVirtioAccessPlatform));
  same.SetUpQueue(0, DriverQueue(ram_, queue0_.descriptors() + ShiftedAddresses::kShift, 16));
  same.Start();
  EXPECT_TRUE(device->activation);
}

TEST_F(TransportTest, HandsTheNegotiatedQueuesToTheDevice) {
  ASSERT_TRUE(StartWithBothQueues(kVirtioVersion1 | 0x1));
  EXPECT_EQ(driver_.status(), 0x0f);
  ASSERT_TRUE(device_->activation);
  EXPECT_EQ(device_->activation->features, kVirtioVersion1 | 0x1);
  ASSERT_TRUE(device_->activation->queues[0].ring);
  EXPECT_EQ(device_->activation->queues[0].ring->size(), 16);
  EXPECT_EQ(device_->activation->queues[1].ring->size(), 8);
}

TEST_F(TransportTest, GivesNoRingForAQueueThatIsNotEnabled) {
  ASSERT_TRUE(driver_.Negotiate(kVirtioVersion1));
  driver_.SetUpQueue(1, queue1_);
  driver_.Start();
  ASSERT_TRUE(device_->activation);
  EXPECT_FALSE(device_->activation->queues[0].ring);
}

TEST_F(TransportTest, DoesNotStartWithoutFeaturesOk) {
  driver_.SetStatus(0);
  driver_.SetStatus(VirtioDriver::kAcknowledge | VirtioDriver::kDriver | VirtioDriver::kDriverOk);
  EXPECT_FALSE(device_->activation);
  EXPECT_EQ(driver_.status(), VirtioDriver::kAcknowledge | VirtioDriver::kDriver);
}

TEST_F(TransportTest, NeedsAResetWhenARingIsNotRam) {
  ASSERT_TRUE(driver_.Negotiate(kVirtioVersion1));
  driver_.EnableMsix(3);
  DriverQueue outside(ram_, 0x20000, 8);
  driver_.SetUpQueue(0, outside);
  driver_.Start();
  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
  EXPECT_FALSE(device_->activation);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), 1u);  // configuration change

  ASSERT_TRUE(StartWithBothQueues());
  EXPECT_EQ(driver_.status(), 0x0f);
}

TEST_F(TransportTest, NeedsAResetWhenTheDeviceFails) {
  ASSERT_TRUE(StartWithBothQueues());
  device_->activation->interrupt->Fail(InvalidArgument("bad ring"));
  EXPECT_EQ(driver_.status(), 0x4f);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), 1u);
  EXPECT_EQ(driver_.Read<uint8_t>(VirtioPciTransport::kIsrOffset), 2);
  EXPECT_EQ(driver_.Read<uint8_t>(VirtioPciTransport::kIsrOffset), 0);
}

TEST_F(TransportTest, StopsTheDeviceBeforeTheStatusReadsZero) {
  ASSERT_TRUE(StartWithBothQueues());
  driver_.SetStatus(0);
  EXPECT_EQ(device_->resets, 1);
  EXPECT_EQ(driver_.status(), 0);
  driver_.Write<uint16_t>(22, 0);
  EXPECT_EQ(driver_.Read<uint16_t>(28), 0);
  EXPECT_EQ(driver_.Read<uint32_t>(32), 0u);
  EXPECT_EQ(driver_.Read<uint16_t>(26), 0xffff);
}

TEST_F(TransportTest, IgnoresBadQueueSettings) {
  driver_.Write<uint16_t>(22, 0);
  EXPECT_EQ(driver_.Read<uint16_t>(24), 16);
  for (uint16_t size : {0, 3, 32}) driver_.Write<uint16_t>(24, size);
  EXPECT_EQ(driver_.Read<uint16_t>(24), 16);
  driver_.Write<uint16_t>(26, 3);
  EXPECT_EQ(driver_.Read<uint16_t>(26), 0xffff);
  driver_.Write<uint16_t>(26, 2);
  EXPECT_EQ(driver_.Read<uint16_t>(26), 2);

  driver_.Write<uint16_t>(22, 2);  // no such queue
  EXPECT_EQ(driver_.Read<uint16_t>(24), 0);
  driver_.Write<uint16_t>(28, 1);
  EXPECT_EQ(driver_.Read<uint16_t>(28), 0);
}

TEST_F(TransportTest, KeepsRunningQueuesUnchanged) {
  ASSERT_TRUE(StartWithBothQueues());
  driver_.Write<uint16_t>(22, 0);
  driver_.Write<uint32_t>(32, 0xdead0000);
  EXPECT_EQ(driver_.Read<uint32_t>(32), 0x1000u);
  driver_.SetStatus(VirtioDriver::kAcknowledge);  // bits cannot be taken back
  EXPECT_EQ(driver_.status(), 0x0f);
}

TEST_F(TransportTest, SignalsAQueueByItsVectorOnlyWhenOneIsSet) {
  ASSERT_TRUE(StartWithBothQueues());
  device_->activation->interrupt->SignalQueue(1);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData + 2), 1u);
  driver_.Write<uint16_t>(22, 1);
  driver_.Write<uint16_t>(26, 0xffff);
  device_->activation->interrupt->SignalQueue(1);
  EXPECT_EQ(interrupts_.delivered().size(), 1u);
}

TEST_F(TransportTest, RegistersNotificationsWhereTheBarIsAndFollowsItsMoves) {
  ASSERT_TRUE(StartWithBothQueues());
  const int kick0 = device_->activation->queues[0].kick_fd;
  const int kick1 = device_->activation->queues[1].kick_fd;
  using Events = std::map<uint64_t, int>;
  EXPECT_EQ(io_events_.events, (Events{{kWindow + 0x3000, kick0}, {kWindow + 0x3004, kick1}}));

  const uint32_t low = 0x20000;
  segment_->Write(kSlot1 + 0x10, {reinterpret_cast<const uint8_t*>(&low), 4});
  EXPECT_EQ(io_events_.events, (Events{{kWindow + 0x23000, kick0}, {kWindow + 0x23004, kick1}}));
  SetCommand(0);
  EXPECT_TRUE(io_events_.events.empty());
  SetCommand(2);
  EXPECT_EQ(io_events_.events.size(), 2u);
  driver_.SetStatus(0);
  EXPECT_TRUE(io_events_.events.empty());
}

TEST_F(TransportTest, NotifiesThroughTheBusWhereTheKernelDoesNot) {
  io_events_.refuse = true;
  ASSERT_TRUE(StartWithBothQueues());
  const int kick1 = device_->activation->queues[1].kick_fd;
  const uint8_t value[2] = {1, 0};
  EXPECT_TRUE(mmio_.Write(kWindow + 0x3002, value));  // between two queues
  EXPECT_TRUE(mmio_.Write(kWindow + 0x3008, value));  // behind the last
  EXPECT_FALSE(Kicked(kick1));
  EXPECT_TRUE(mmio_.Write(kWindow + 0x3004, value));
  EXPECT_TRUE(Kicked(kick1));
}

TEST_F(TransportTest, ForgetsNotificationsAtReset) {
  ASSERT_TRUE(StartWithBothQueues());
  const int kick = device_->activation->queues[0].kick_fd;
  driver_.Notify(0);
  EXPECT_TRUE(Kicked(kick));
  driver_.SetStatus(0);
  EXPECT_FALSE(Kicked(kick));
  driver_.Notify(0);
  EXPECT_FALSE(Kicked(kick));
}

TEST_F(TransportTest, PassesDeviceConfigurationThrough) {
  EXPECT_EQ(driver_.Read<uint32_t>(0x2004), 0xa7a6a5a4u);
  driver_.Write<uint16_t>(0x2002, 1);
  EXPECT_EQ(device_->config_writes, (std::vector<uint64_t>{2}));
}

TEST_F(TransportTest, ReachesTheBarThroughConfigurationSpace) {
  const uint8_t at = FindCapability(5);
  auto write = [&](uint32_t offset, uint32_t value, size_t size) {
    segment_->Write(kSlot1 + at + offset, {reinterpret_cast<const uint8_t*>(&value), size});
  };
  auto read = [&](uint32_t offset) {
    uint32_t value = 0;
    segment_->Read(kSlot1 + at + offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  };
  write(4, 0, 1);
  write(8, 20, 4);  // status
  write(12, 1, 4);
  write(16, VirtioDriver::kAcknowledge, 4);
  EXPECT_EQ(driver_.status(), VirtioDriver::kAcknowledge);
  EXPECT_EQ(read(16), VirtioDriver::kAcknowledge);

  write(8, 0xffffffff, 4);  // outside, misaligned, odd lengths, no such BAR: nothing happens
  write(16, 0, 4);
  write(8, 0xfffe, 4);
  write(12, 4, 4);
  write(16, 0, 4);
  write(12, 3, 4);
  write(16, 0, 4);
  write(8, 20, 4);
  write(12, 1, 4);
  write(4, 1, 1);
  write(16, 0, 4);
  EXPECT_EQ(driver_.status(), VirtioDriver::kAcknowledge);
}

TEST_F(TransportTest, IgnoresAccessesOfTheWrongWidth) {
  driver_.SetStatus(VirtioDriver::kAcknowledge);
  EXPECT_EQ(driver_.Read<uint32_t>(20), 0u);
  driver_.Write<uint32_t>(20, 0);
  EXPECT_EQ(driver_.status(), VirtioDriver::kAcknowledge);
  EXPECT_EQ(driver_.Read<uint64_t>(56), 0u);
  driver_.Write<uint16_t>(22, 0);
  driver_.Write<uint64_t>(32, 0x123456789000);
  EXPECT_EQ(driver_.Read<uint64_t>(32), 0x123456789000u);
  EXPECT_EQ(driver_.Read<uint32_t>(36), 0x1234u);
}

TEST(VirtioPciTransport, FailsToBeCreatedWhenInterruptsHaveRunOut) {
  GuestRam ram({{0, 0x1000}});
  FakeMsiController interrupts(2);
  FakeIoEvents io_events;
  auto transport =
      VirtioPciTransport::Create(std::make_shared<FakeVirtioDevice>(), ram.memory(), interrupts, io_events);
  EXPECT_EQ(transport.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(interrupts.routes(), 0u);
}

}  // namespace
}  // namespace berth::vmm
