#include "vmm/virtio/net.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kData = 0x10000;
constexpr uint64_t kMergeBuffers = 1 << 15;
constexpr MacAddress kMac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

// The device on one end of a packet socket, the test on the other in place of the kernel's network.
class NetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    wire_.reset(ends[0]);
    Tap tap;
    tap.fd.reset(ends[1]);
    transport_ = *VirtioPciTransport::Create(VirtioNet::Create(std::move(tap), kMac, *loop_), ram_.memory(),
                                             interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  void Start(uint64_t features = kVirtioVersion1 | kMergeBuffers) {
    ASSERT_TRUE(driver_->Negotiate(features));
    driver_->EnableMsix(3);
    driver_->SetUpQueue(0, receive_);
    driver_->SetUpQueue(1, transmit_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  void RunOnce() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  static std::vector<uint8_t> Packet(size_t size, uint8_t value) {
    std::vector<uint8_t> packet(kVirtioNetHeaderBytes + size, value);
    std::fill(packet.begin(), packet.begin() + kVirtioNetHeaderBytes, uint8_t{0});
    return packet;
  }
  void Arrive(const std::vector<uint8_t>& packet) {
    ASSERT_EQ(send(wire_.get(), packet.data(), packet.size(), 0), static_cast<ssize_t>(packet.size()));
  }
  // The next packet that the device has sent; empty when there is none.
  std::vector<uint8_t> Sent() {
    std::vector<uint8_t> packet(100000);
    const ssize_t count = recv(wire_.get(), packet.data(), packet.size(), 0);
    packet.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return packet;
  }

  GuestRam ram_{{{0, 0x100000}}};
  DriverQueue receive_{ram_, 0x1000, 16};
  DriverQueue transmit_{ram_, 0x3000, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  UniqueFd wire_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
};

TEST_F(NetTest, TellsItsAddressAndThatTheLinkIsUp) {
  EXPECT_EQ(driver_->Read<uint32_t>(0x2000), 0x12005452u);
  EXPECT_EQ(driver_->Read<uint16_t>(0x2004), 0x5634);
  EXPECT_EQ(driver_->Read<uint16_t>(0x2006), 1);
  EXPECT_EQ(driver_->DeviceFeatures() & 0xffffff,
            uint64_t{kNetMac | kNetMergeBuffers | kNetStatus | kNetControlQueue});  // no offloads here
}

TEST_F(NetTest, SendsPacketsFromAnyPieces) {
  Start();
  const auto packet = Packet(60, 0x5a);
  ram_.Put(kData, packet);
  transmit_.Post({{kData, 12}, {kData + 12, 20}, {kData + 32, 40}});
  transmit_.Post({{kData, 72}});
  driver_->Notify(1);
  RunOnce();
  EXPECT_EQ(Sent(), packet);
  EXPECT_EQ(Sent(), packet);
  EXPECT_TRUE(Sent().empty());
  EXPECT_EQ(transmit_.UsedIndex(), 2);
  EXPECT_EQ(transmit_.Used(1), (DriverQueue::UsedElement{3, 0}));
  EXPECT_GE(interrupts_.Count(VirtioDriver::kMsiData + 2), 1u);
}

TEST_F(NetTest, DropsPacketsOfImpossibleSizes) {
  Start();
  transmit_.Post({{kData, 25}});
  transmit_.Post({{kData, static_cast<uint32_t>(VirtioNet::kPacketMax + 1)}});
  driver_->Notify(1);
  RunOnce();
  EXPECT_TRUE(Sent().empty());
  EXPECT_EQ(transmit_.UsedIndex(), 2);
}

TEST_F(NetTest, ReceivesIntoTheDriversBuffers) {
  Start();
  receive_.Post({{kData, 2048, true}});
  driver_->Notify(0);
  RunOnce();
  Arrive(Packet(100, 0x11));
  RunOnce();
  EXPECT_EQ(receive_.UsedIndex(), 1);
  EXPECT_EQ(receive_.Used(0), (DriverQueue::UsedElement{0, 112}));
  EXPECT_EQ(ram_.GetObject<uint16_t>(kData + 10), 1);  // num_buffers
  EXPECT_EQ(ram_.Get(kData + 12, 100), std::vector<uint8_t>(100, 0x11));
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData + 1), 1u);
}

TEST_F(NetTest, MergesBuffersForALargePacket) {
  Start();
  for (uint64_t i = 0; i < 4; ++i) receive_.Post({{kData + 0x1000 * i, 1000, true}});
  Arrive(Packet(2500, 0x22));
  driver_->Notify(0);
  RunOnce();
  EXPECT_EQ(receive_.UsedIndex(), 3);
  EXPECT_EQ(receive_.Used(0), (DriverQueue::UsedElement{0, 1000}));
  EXPECT_EQ(receive_.Used(2), (DriverQueue::UsedElement{2, 512}));
  EXPECT_EQ(ram_.GetObject<uint16_t>(kData + 10), 3);
  EXPECT_EQ(ram_.Get(kData + 0x2000, 512), std::vector<uint8_t>(512, 0x22));
}

TEST_F(NetTest, KeepsAPacketUntilThereAreEnoughBuffersAlsoWithEventIndices) {
  for (const uint64_t features :
       {kVirtioVersion1 | kMergeBuffers, kVirtioVersion1 | kMergeBuffers | kVirtioEventIdx}) {
    ram_.Put(0x1000, std::vector<uint8_t>(0x4000, 0));
    receive_ = DriverQueue(ram_, 0x1000, 16);
    Start(features);
    receive_.Post({{kData, 1000, true}});
    Arrive(Packet(1500, 0x33));
    Arrive(Packet(50, 0x44));
    driver_->Notify(0);
    RunOnce();
    EXPECT_EQ(receive_.UsedIndex(), 0);
    if (features & kVirtioEventIdx) {
      EXPECT_EQ(receive_.AvailableEvent(), 1);
    }
    receive_.Post({{kData + 0x1000, 1000, true}});
    driver_->Notify(0);
    RunOnce();
    EXPECT_EQ(receive_.UsedIndex(), 2);
    receive_.Post({{kData + 0x2000, 1000, true}});
    driver_->Notify(0);
    RunOnce();
    EXPECT_EQ(receive_.UsedIndex(), 3);
    EXPECT_EQ(receive_.Used(2), (DriverQueue::UsedElement{2, 62}));
  }
}

TEST_F(NetTest, DropsWhatDoesNotFitWhenBuffersAreNotMerged) {
  Start(kVirtioVersion1);
  receive_.Post({{kData, 200, true}});
  Arrive(Packet(300, 0x55));
  Arrive(Packet(100, 0x66));
  driver_->Notify(0);
  RunOnce();
  EXPECT_EQ(receive_.UsedIndex(), 1);
  EXPECT_EQ(receive_.Used(0), (DriverQueue::UsedElement{0, 112}));
}

TEST_F(NetTest, NeedsAResetAfterAReceiveBufferThatCannotHoldAHeader) {
  Start();
  receive_.Post({{kData, 11, true}});
  Arrive(Packet(100, 0x77));
  driver_->Notify(0);
  RunOnce();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(NetTest, NeedsAResetAfterABadTransmitRingAndWorksAgainAfterIt) {
  Start();
  transmit_.SetAvailableIndex(77);
  driver_->Notify(1);
  RunOnce();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);

  ram_.Put(0x1000, std::vector<uint8_t>(0x4000, 0));
  receive_ = DriverQueue(ram_, 0x1000, 16);
  transmit_ = DriverQueue(ram_, 0x3000, 16);
  Start();
  receive_.Post({{kData, 2048, true}});
  Arrive(Packet(64, 1));
  driver_->Notify(0);
  RunOnce();
  EXPECT_EQ(receive_.UsedIndex(), 1);
}

TEST_F(NetTest, StopsReadingWhenTheWireIsGone) {
  Start();
  receive_.Post({{kData, 2048, true}});
  driver_->Notify(0);
  RunOnce();
  wire_.reset();
  RunOnce();
  driver_->Notify(0);
  RunOnce();
  EXPECT_EQ(receive_.UsedIndex(), 0);
  EXPECT_EQ(driver_->status(), 0x0f);
}

TEST_F(NetTest, NeedsBothQueues) {
  ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
  driver_->SetUpQueue(0, receive_);
  driver_->Start();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

// With a bucket of few packets for each direction.
class NetLimitTest : public NetTest {
 protected:
  using Clock = std::chrono::steady_clock;
  static constexpr uint64_t kBucket = 2;
  static constexpr uint64_t kNever = 3'600'000;  // ms until the bucket is full again

  // Two packets at once, and as many in each of `refill_ms`.
  void Create(uint64_t refill_ms, RateLimitSettings limits = {}) {
    if (!limits.limited()) limits.operations = {kBucket, 0, refill_ms};
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    driver_.reset();
    transport_.reset();
    wire_.reset(ends[0]);
    std::vector<Tap> taps(1);
    taps[0].fd.reset(ends[1]);
    created_ = Clock::now();
    transport_ = *VirtioPciTransport::Create(
        *VirtioNet::Create(std::move(taps), kMac, *loop_, {.id = "net0", .limits = limits}), ram_.memory(),
        interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  // A driver that has forgotten what it had posted.
  void StartAnew() {
    ram_.Put(0x1000, std::vector<uint8_t>(0x4000, 0));
    receive_ = DriverQueue(ram_, 0x1000, 16);
    transmit_ = DriverQueue(ram_, 0x3000, 16);
    Start();
  }
  // One packet for each of `values`, which fills it.
  void Transmit(const std::vector<uint8_t>& values) {
    for (const uint8_t value : values) {
      const uint64_t at = kData + 0x100ull * value;
      ram_.Put(at, Packet(60, value));
      transmit_.Post({{at, 72}});
    }
    driver_->Notify(1);
    RunOnce();
  }
  void PostBuffers(size_t count) {
    for (size_t i = 0; i < count; ++i) receive_.Post({{kData + 0x1000 * i, 1000, true}});
    driver_->Notify(0);
    RunOnce();
  }
  // Adds what fills the packets that are on the wire by now.
  void CollectSent(std::vector<uint8_t>& values) {
    for (auto packet = Sent(); !packet.empty(); packet = Sent()) values.push_back(packet.back());
  }
  // What fills the packets that the driver has received since it started.
  std::vector<uint8_t> Received() {
    std::vector<uint8_t> values;
    for (uint16_t i = 0; i < receive_.UsedIndex(); ++i)
      values.push_back(ram_.GetObject<uint8_t>(kData + 0x1000ull * receive_.Used(i).head + 12));
    return values;
  }
  template <class Done>
  void RunUntil(Done done) {
    const auto deadline = created_ + std::chrono::seconds(10);
    while (!done()) {
      ASSERT_LT(Clock::now(), deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      RunOnce();
    }
  }
  void RunFor(std::chrono::milliseconds time) {
    for (const auto end = Clock::now() + time; Clock::now() < end;) RunOnce();
  }
  // A limit may be late, and is never early.
  void ExpectTimeOf(uint64_t packets, uint64_t refill_ms) {
    EXPECT_GE(Clock::now() - created_, std::chrono::milliseconds((packets - kBucket) * refill_ms / kBucket));
  }

  Clock::time_point created_;
};

TEST_F(NetLimitTest, WhatGoesBeyondTheBucketStaysInTheTransmitQueue) {
  Create(kNever);
  Start();
  std::vector<uint8_t> sent;
  Transmit({1, 2, 3, 4});
  Transmit({5});
  CollectSent(sent);
  EXPECT_EQ(sent, (std::vector<uint8_t>{1, 2}));
  EXPECT_EQ(transmit_.UsedIndex(), 2);
}

TEST_F(NetLimitTest, TransmittedPacketsComeLaterInTheirOrder) {
  Create(40);
  Start();
  std::vector<uint8_t> sent;
  Transmit({1, 2, 3, 4, 5, 6});
  RunUntil([&] {
    CollectSent(sent);
    return sent.size() >= 6;
  });
  ExpectTimeOf(6, 40);
  EXPECT_EQ(sent, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(transmit_.UsedIndex(), 6);
  RunFor(std::chrono::milliseconds(50));
  EXPECT_TRUE(Sent().empty());
}

TEST_F(NetLimitTest, WhatGoesBeyondTheBucketWaitsInTheTap) {
  Create(kNever);
  Start();
  PostBuffers(6);
  for (const uint8_t value : {1, 2, 3, 4}) Arrive(Packet(60, value));
  RunFor(std::chrono::milliseconds(5));
  EXPECT_EQ(Received(), (std::vector<uint8_t>{1, 2}));
  PostBuffers(1);  // and the driver's notifications are no way around it
  EXPECT_EQ(receive_.UsedIndex(), 2);
}

TEST_F(NetLimitTest, ReceivedPacketsComeLaterInTheirOrder) {
  Create(40);
  Start();
  PostBuffers(8);
  for (const uint8_t value : {1, 2, 3, 4, 5, 6}) Arrive(Packet(60, value));
  RunUntil([&] { return receive_.UsedIndex() >= 6; });
  ExpectTimeOf(6, 40);
  EXPECT_EQ(Received(), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  // The tap is looked at again.
  Arrive(Packet(60, 7));
  RunUntil([&] { return receive_.UsedIndex() >= 7; });
  EXPECT_EQ(Received().back(), 7);
}

TEST_F(NetLimitTest, BytesAreThoseOfThePacketWithItsHeader) {
  RateLimitSettings limits;
  limits.bandwidth = {2 * 72 + 71, 0, kNever};
  Create(kNever, limits);
  Start();
  std::vector<uint8_t> sent;
  Transmit({1, 2, 3});
  CollectSent(sent);
  EXPECT_EQ(sent, (std::vector<uint8_t>{1, 2}));
  PostBuffers(4);
  for (const uint8_t value : {4, 5, 6}) Arrive(Packet(60, value));
  RunFor(std::chrono::milliseconds(5));
  EXPECT_EQ(Received(), (std::vector<uint8_t>{4, 5}));  // a bucket of its own
}

TEST_F(NetLimitTest, APacketThatWaitsForBuffersIsPaidForOnce) {
  Create(kNever);
  Start();
  Arrive(Packet(60, 1));
  Arrive(Packet(60, 2));
  for (int i = 0; i < 3; ++i) {
    driver_->Notify(0);
    RunOnce();
  }
  EXPECT_EQ(receive_.UsedIndex(), 0);
  PostBuffers(3);
  EXPECT_EQ(Received(), (std::vector<uint8_t>{1, 2}));
}

TEST_F(NetLimitTest, AResetWhilePacketsAreHeldIsHarmless) {
  constexpr uint64_t kRefill = 40;
  Create(kRefill);
  Start();
  std::vector<uint8_t> sent;
  Transmit({1, 2, 3, 4});
  PostBuffers(6);
  for (const uint8_t value : {1, 2, 3, 4}) Arrive(Packet(60, value));
  RunOnce();

  driver_->SetStatus(0);

  CollectSent(sent);
  const uint16_t transmitted = transmit_.UsedIndex(), received = receive_.UsedIndex();
  RunFor(std::chrono::milliseconds(2 * kRefill));  // the timers' time is over
  EXPECT_TRUE(Sent().empty());
  EXPECT_EQ(transmit_.UsedIndex(), transmitted);
  EXPECT_EQ(receive_.UsedIndex(), received);

  StartAnew();
  sent.clear();
  Transmit({5, 6, 7, 8});
  PostBuffers(8);
  Arrive(Packet(60, 9));
  RunUntil([&] {
    CollectSent(sent);
    const auto values = Received();
    return sent.size() >= 4 && !values.empty() && values.back() == 9;
  });
  EXPECT_EQ(sent, (std::vector<uint8_t>{5, 6, 7, 8}));
}

TEST_F(NetLimitTest, ADeviceThatGoesWhilePacketsAreHeldTakesItsTimersAlong) {
  Create(20);
  Start();
  Transmit({1, 2, 3, 4});
  PostBuffers(4);
  for (const uint8_t value : {1, 2, 3, 4}) Arrive(Packet(60, value));
  RunOnce();
  driver_.reset();
  transport_.reset();
  RunFor(std::chrono::milliseconds(50));
  EXPECT_LT(transmit_.UsedIndex(), 4);
}

// Several pairs of queues, each with a wire of its own in place of the kernel's network.
class NetPairsTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kFeatures = kVirtioVersion1 | kMergeBuffers | kNetControlQueue | kNetMultiQueue;

  void Create(std::vector<Tap> taps) {
    transport_ =
        *VirtioPciTransport::Create(*VirtioNet::Create(std::move(taps), kMac, *loop_, {.id = "net0"}),
                                    ram_.memory(), interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  void SetUpWires() {
    std::vector<Tap> taps(2);
    for (size_t i = 0; i < 2; ++i) {
      int ends[2];
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
      wires_[i].reset(ends[0]);
      taps[i].fd.reset(ends[1]);
    }
    Create(std::move(taps));
  }
  void Start(uint64_t features) {
    ASSERT_TRUE(driver_->Negotiate(features));
    driver_->EnableMsix(6);
    for (uint16_t i = 0; i < 4; ++i) driver_->SetUpQueue(i, queues_[i]);
    driver_->SetUpQueue(4, control_);
    driver_->Start();
  }
  // The answer to a command.
  int Command(uint8_t kind, uint8_t command, uint16_t value, uint32_t bytes = 2) {
    ram_.Put(kData, {kind, command});
    ram_.PutObject<uint16_t>(kData + 2, value);
    ram_.PutObject<uint8_t>(kData + 0x10, 0xee);
    control_.Post({{kData, 2 + bytes}, {kData + 0x10, 1, true}});
    driver_->Notify(4);
    loop_->Stop();
    EXPECT_TRUE(loop_->Run().ok());
    return ram_.GetObject<uint8_t>(kData + 0x10);
  }

  GuestRam ram_{{{0, 0x100000}}};
  DriverQueue queues_[4] = {{ram_, 0x1000, 16}, {ram_, 0x2000, 16}, {ram_, 0x3000, 16}, {ram_, 0x4000, 16}};
  DriverQueue control_{ram_, 0x5000, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  UniqueFd wires_[2];
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
};

TEST_F(NetPairsTest, TheDriverChoosesHowManyPairsItUses) {
  SetUpWires();
  EXPECT_EQ(driver_->Read<uint16_t>(0x2008), 2);
  EXPECT_TRUE(driver_->DeviceFeatures() & kNetMultiQueue);
  Start(kFeatures);
  ASSERT_EQ(driver_->status(), 0x0f);
  EXPECT_EQ(Command(4, 0, 2), 0);
  EXPECT_EQ(Command(4, 0, 3), 1);
  EXPECT_EQ(Command(4, 0, 0), 1);
  EXPECT_EQ(Command(4, 0, 2, 1), 1);  // half a number
  EXPECT_EQ(Command(5, 0, 0), 1);     // offloads, of which there are none here
  EXPECT_EQ(Command(0, 0, 1), 1);     // promiscuous: always is
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData + 5), 6u);

  queues_[2].Post({{kData + 0x1000, 2048, true}});
  driver_->Notify(2);
  const std::vector<uint8_t> packet(72, 0);
  ASSERT_EQ(send(wires_[1].get(), packet.data(), packet.size(), 0), 72);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 3, 1));
  EXPECT_EQ(queues_[2].Used(0), (DriverQueue::UsedElement{0, 72}));
  queues_[3].Post({{kData + 0x2000, 72}});
  driver_->Notify(3);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 4, 1));
  std::vector<uint8_t> sent(100);
  EXPECT_EQ(recv(wires_[1].get(), sent.data(), sent.size(), 0), 72);
}

TEST_F(NetPairsTest, ADriverThatKnowsOfOnePairHasItsControlQueueBehindIt) {
  SetUpWires();
  ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1 | kMergeBuffers | kNetControlQueue));
  driver_->EnableMsix(6);
  for (uint16_t i = 0; i < 3; ++i) driver_->SetUpQueue(i, queues_[i]);
  driver_->Start();
  ASSERT_EQ(driver_->status(), 0x0f);
  ram_.Put(kData, {4, 0, 1, 0});
  queues_[2].Post({{kData, 4}, {kData + 0x10, 1, true}});
  driver_->Notify(2);
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_EQ(queues_[2].UsedIndex(), 1);
  EXPECT_EQ(ram_.GetObject<uint8_t>(kData + 0x10), 1);  // not without the feature
}

TEST_F(NetPairsTest, NeedsAResetWithoutAControlQueueOrRoomForItsAnswer) {
  SetUpWires();
  Start(kVirtioVersion1 | kNetMultiQueue);
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
  Start(kFeatures);
  control_.Post({{kData, 4}});
  driver_->Notify(4);
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(NetPairsTest, AttachesTheQueuesOfTheInterfaceThatTheDriverUses) {
  auto taps = OpenTapQueues("berthtest2", 2);
  if (!taps.has_value()) GTEST_SKIP() << "no TAP here: " << taps.error().ToString();
  Create(std::move(*taps));
  auto queues = [] {
    int count = 0;
    while (access(("/sys/class/net/berthtest2/queues/rx-" + std::to_string(count)).c_str(), F_OK) == 0)
      ++count;
    return count;
  };
  EXPECT_EQ(queues(), 2);
  Start(kFeatures);
  EXPECT_EQ(queues(), 1);
  EXPECT_EQ(Command(4, 0, 2), 0);
  EXPECT_EQ(queues(), 2);
  EXPECT_EQ(Command(4, 0, 1), 0);
  EXPECT_EQ(queues(), 1);
}

TEST(Tap, RefusesBadNamesAndInterfacesThatAreNoTaps) {
  for (const std::string name : {"", "a/b", "with blank", "tap%d", "sixteencharacter"}) {
    EXPECT_EQ(OpenTap(name).status().code(), StatusCode::kInvalidArgument) << name;
  }
  UniqueFd tun(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!tun.valid()) GTEST_SKIP() << "/dev/net/tun cannot be opened";
  EXPECT_FALSE(OpenTap("lo").has_value());
}

TEST(Tap, OneThatIsCreatedGetsItsMtu) {
  auto taps = OpenTapQueues("berthtest3", 1, uint16_t{4000});
  if (!taps.has_value()) GTEST_SKIP() << "no TAP here: " << taps.error().ToString();
  std::ifstream file("/sys/class/net/berthtest3/mtu");
  int mtu = 0;
  file >> mtu;
  EXPECT_EQ(mtu, 4000);
}

TEST(Tap, AdoptsADescriptorThatSomebodyElseHasOpened) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  EXPECT_EQ(AdoptTap(std::move(reader)).status().code(), StatusCode::kInvalidArgument);
  auto tap = OpenTap("berthtest1");
  if (!tap) GTEST_SKIP() << "no TAP here: " << tap.status().ToString();
  auto adopted = AdoptTap(UniqueFd(dup(tap->fd.get())));
  ASSERT_TRUE(adopted.has_value()) << adopted.status().ToString();
  EXPECT_EQ(adopted->name, "berthtest1");
  EXPECT_EQ(adopted->offloads, tap->offloads);
}

TEST(Tap, CarriesPacketsOfTheDevice) {
  auto tap = OpenTap("berthtest0");
  if (!tap) GTEST_SKIP() << "no TAP here: " << tap.status().ToString();
  EXPECT_TRUE(tap->created);
  EXPECT_NE(if_nametoindex("berthtest0"), 0u);
  EXPECT_EQ(OpenTap("berthtest0").status().code(), StatusCode::kFailedPrecondition);
  auto loop = *EventLoop::Create();
  const bool offloads = tap->offloads;
  auto net = VirtioNet::Create(std::move(*tap), kMac, *loop);
  EXPECT_EQ((net->features() & 1) != 0, offloads);
  net.reset();
  EXPECT_EQ(if_nametoindex("berthtest0"), 0u);  // gone with its descriptor
}

}  // namespace
}  // namespace berth::vmm
