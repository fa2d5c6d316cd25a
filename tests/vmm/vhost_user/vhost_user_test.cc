#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/fake_vhost_backend.h"
#include "tests/fakes/virtio_driver.h"
#include "vmm/vhost_user/block.h"
#include "vmm/vhost_user/frontend.h"
#include "vmm/vhost_user/net.h"

namespace berth::vmm {
namespace {

using namespace std::chrono_literals;
using vhost_user::Request;

constexpr uint64_t kData = 0x10000;
constexpr MacAddress kMac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr uint64_t kDevice = 0x2000;  // the device's configuration space in the BAR

// Waits for what other threads do; false after half a minute.
template <class Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 15000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(2ms);
  }
  return false;
}

class VhostUserTest : public ::testing::Test {
 protected:
  void SetUp() override { path_ = testing::TempDir() + "vhost-" + std::to_string(getpid()) + ".sock"; }
  void TearDown() override {
    driver_.reset();
    transport_.reset();
    if (backend_) {
      EXPECT_EQ(backend_->offences(), std::vector<std::string>());
    }
  }

  void StartBackend(FakeVhostBackend::Options options = {}) {
    options.config[0] = 0x80;  // 128 sectors
    options.config[12] = 126;  // seg_max
    backend_.emplace(path_, std::move(options));
  }
  VhostUserBlock::Options BlockOptions() {
    VhostUserBlock::Options options;
    options.id = "disk0";
    options.socket = path_;
    options.queue_size = 16;
    options.patience = 5000ms;
    options.retry = 5ms;
    return options;
  }
  VhostUserNet::Options NetOptions() {
    VhostUserNet::Options options;
    options.id = "net0";
    options.socket = path_;
    options.queue_size = 16;
    options.retry = 5ms;
    return options;
  }
  template <class Device>
  void Attach(Result<std::shared_ptr<Device>> device, GuestRam& ram) {
    ASSERT_TRUE(device.has_value()) << device.error().ToString();
    transport_ = *VirtioPciTransport::Create(*device, ram.memory(), interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  template <class Device>
  void Attach(Result<std::shared_ptr<Device>> device) {
    Attach(std::move(device), ram_);
  }
  void Start(const std::vector<DriverQueue*>& queues, uint64_t features = kVirtioVersion1) {
    ASSERT_TRUE(driver_->Negotiate(features));
    driver_->EnableMsix(static_cast<uint16_t>(queues.size() + 1));
    for (uint16_t i = 0; i < queues.size(); ++i) driver_->SetUpQueue(i, *queues[i]);
    driver_->Start();
  }

  std::string path_;
  GuestRam ram_{{{0, 0x80000}, {0x80000, 0x80000}}, /*shared=*/true};
  DriverQueue first_{ram_, 0x1000, 16};
  DriverQueue second_{ram_, 0x2000, 16};
  DriverQueue third_{ram_, 0x3000, 16};
  DriverQueue fourth_{ram_, 0x4000, 16};
  DriverQueue control_{ram_, 0x5000, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::optional<FakeVhostBackend> backend_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
};

TEST_F(VhostUserTest, ABackEndCarriesOutTheGuestsRequests) {
  FakeVhostBackend::Options options;
  options.serve = [](uint32_t, std::vector<FakeVhostBackend::Buffer>& buffers) {
    std::memset(buffers[1].at, 0x5a, buffers[1].length);
    return static_cast<int>(buffers[1].length);
  };
  StartBackend(options);
  Attach(VhostUserBlock::Create(BlockOptions()));
  EXPECT_EQ(driver_->Read<uint64_t>(kDevice), 128u);      // the back end's capacity
  EXPECT_EQ(driver_->Read<uint32_t>(kDevice + 12), 14u);  // as many segments as the queue holds
  EXPECT_EQ(driver_->Read<uint16_t>(kDevice + 34), 1u);   // num_queues
  Start({&first_});
  ASSERT_EQ(driver_->status(), 0x0f);
  first_.Post({{0x9000, 16}, {kData, 512, true}});
  driver_->Notify(0);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, 1));
  EXPECT_EQ(first_.Used(0), (DriverQueue::UsedElement{0, 512}));
  EXPECT_EQ(ram_.Get(kData, 512), std::vector<uint8_t>(512, 0x5a));
  EXPECT_EQ(backend_->acked_features(), kVirtioVersion1 | vhost_user::kProtocolFeatures);

  driver_->SetStatus(0);
  EXPECT_EQ(backend_->Count(Request::kGetVringBase), 1u);  // it was asked to stop, and has
}

TEST_F(VhostUserTest, ABackEndMayGoWhileTheDeviceDoes) {
  for (int i = 0; i < 50; ++i) {
    StartBackend();
    Result<std::shared_ptr<VhostUserBlock>> device = VhostUserBlock::Create(BlockOptions());
    ASSERT_TRUE(device.has_value()) << device.error().ToString();
    std::thread gone([this] { backend_.reset(); });
    *device = nullptr;
    gone.join();
  }
}

TEST_F(VhostUserTest, OffersOnlyWhatTheBackEndHas) {
  FakeVhostBackend::Options options;
  options.features = kVirtioVersion1 | vhost_user::kProtocolFeatures | 1 << 9 | 1 << 12;
  StartBackend(options);
  Attach(VhostUserBlock::Create(BlockOptions()));
  // Flush; neither indirect descriptors nor event indices; one queue, so no multi-queue.
  EXPECT_EQ(driver_->DeviceFeatures(), kVirtioVersion1 | 1 << 9);
}

TEST_F(VhostUserTest, SaysWhatIsWrongWithABackEnd) {
  EXPECT_EQ(VhostUserBlock::Create(BlockOptions()).status().code(), StatusCode::kNotFound);
  auto refused = [this](FakeVhostBackend::Options options, uint16_t queues) {
    backend_.reset();
    StartBackend(std::move(options));
    VhostUserBlock::Options wanted = BlockOptions();
    wanted.queues = queues;
    return VhostUserBlock::Create(wanted).status();
  };
  FakeVhostBackend::Options old;
  old.features = vhost_user::kProtocolFeatures;
  EXPECT_NE(refused(old, 1).message().find("older than virtio 1.0"), std::string::npos);
  FakeVhostBackend::Options few;
  few.queues = 2;
  EXPECT_NE(refused(few, 3).message().find("serves 2 queues, num_queues asks for 3"), std::string::npos);
  FakeVhostBackend::Options mute;
  mute.protocol_features = vhost_user::kMultiQueue;
  EXPECT_NE(refused(mute, 1).message().find("CONFIG"), std::string::npos);
}

TEST_F(VhostUserTest, NeedsSharedMemory) {
  StartBackend();
  GuestRam own({{0, 0x100000}});
  DriverQueue queue(own, 0x1000, 16);
  Attach(VhostUserBlock::Create(BlockOptions()), own);
  Start({&queue});
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
  EXPECT_EQ(backend_->Count(Request::kSetMemoryTable), 0u);
  driver_.reset();
  transport_.reset();
}

TEST_F(VhostUserTest, PassesOnAChangedConfiguration) {
  StartBackend();
  Attach(VhostUserBlock::Create(BlockOptions()));
  Start({&first_});
  std::vector<uint8_t> larger(60, 0);
  larger[1] = 1;  // 256 sectors
  backend_->ChangeConfig(larger);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData, 1));
  EXPECT_EQ(driver_->Read<uint64_t>(kDevice), 256u);
  driver_->Write<uint8_t>(kDevice + 32, 1);  // writeback
  EXPECT_EQ(driver_->Read<uint8_t>(kDevice + 32), 1);
}

TEST_F(VhostUserTest, AnErrorOfTheBackEndIsTheDevices) {
  StartBackend();
  Attach(VhostUserBlock::Create(BlockOptions()));
  Start({&first_});
  backend_->RaiseError(0);
  EXPECT_TRUE(Eventually([&] { return (driver_->status() & VirtioDriver::kNeedsReset) != 0; }));
}

TEST_F(VhostUserTest, ANewBackEndGoesOnWithTheRequests) {
  StartBackend();
  Attach(VhostUserBlock::Create(BlockOptions()));
  Start({&first_});
  first_.Post({{0x9000, 16}, {kData, 512, true}});
  driver_->Notify(0);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, 1));

  backend_->Refuse(true);
  backend_->Crash();
  first_.Post({{0x9000, 16}, {kData, 512, true}});
  driver_->Notify(0);  // nobody hears it
  backend_->Refuse(false);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, 2));
  EXPECT_EQ(first_.UsedIndex(), 2);
  EXPECT_EQ(driver_->status(), 0x0f);
  // The area that says what was under way is the same one.
  EXPECT_EQ(backend_->Count(Request::kGetInflightFd), 1u);
  EXPECT_EQ(backend_->Count(Request::kSetInflightFd), 2u);
}

TEST_F(VhostUserTest, ADiskIsLostWithABackEndThatKeepsNoTrack) {
  FakeVhostBackend::Options options;
  options.protocol_features &= ~vhost_user::kInflight;
  StartBackend(options);
  Attach(VhostUserBlock::Create(BlockOptions()));
  Start({&first_});
  backend_->Crash();
  EXPECT_TRUE(Eventually([&] { return (driver_->status() & VirtioDriver::kNeedsReset) != 0; }));
  // After a reset it works again, with the new one.
  ASSERT_TRUE(Eventually([&] { return backend_->Count(Request::kSetOwner) == 2; }));
  ram_.Put(0x1000, std::vector<uint8_t>(0x1000, 0));
  first_ = DriverQueue(ram_, 0x1000, 16);
  Start({&first_});
  first_.Post({{0x9000, 16}, {kData, 512, true}});
  driver_->Notify(0);
  EXPECT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, 1));
}

TEST_F(VhostUserTest, ANetworkDeviceHasOurAddressAndTheBackEndsPackets) {
  FakeVhostBackend::Options options;
  options.features |= 0x3;
  StartBackend(options);
  VhostUserNet::Options wanted = NetOptions();
  wanted.mtu = 1400;
  Attach(VhostUserNet::Create(wanted, kMac));
  EXPECT_EQ(driver_->Read<uint32_t>(kDevice), 0x12005452u);
  EXPECT_EQ(driver_->Read<uint16_t>(kDevice + 10), 1400);
  EXPECT_EQ(backend_->mtu(), 1400u);
  EXPECT_EQ(driver_->DeviceFeatures() & 0x7fffff,
            uint64_t{0x3 | kNetMac | kNetStatus | kNetControlQueue | kNetMtu});
  Start({&first_, &second_, &control_}, kVirtioVersion1 | kNetControlQueue | kNetMac | 0x3);
  ASSERT_EQ(driver_->status(), 0x0f);
  EXPECT_EQ(backend_->acked_features(), kVirtioVersion1 | vhost_user::kProtocolFeatures | 0x3);
  second_.Post({{kData, 64}});
  driver_->Notify(1);
  EXPECT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 2, 1));
}

TEST_F(VhostUserTest, TheDriverChoosesHowManyPairsOfQueuesWork) {
  StartBackend();
  VhostUserNet::Options wanted = NetOptions();
  wanted.pairs = 2;
  Attach(VhostUserNet::Create(wanted, kMac));
  EXPECT_EQ(driver_->Read<uint16_t>(kDevice + 8), 2);
  Start({&first_, &second_, &third_, &fourth_, &control_},
        kVirtioVersion1 | kNetControlQueue | kNetMultiQueue);
  ASSERT_EQ(driver_->status(), 0x0f);
  EXPECT_TRUE(backend_->enabled(1));
  EXPECT_FALSE(backend_->enabled(2));
  ram_.Put(kData, {4, 0, 2, 0});
  control_.Post({{kData, 4}, {kData + 16, 1, true}});
  driver_->Notify(4);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 5, 1));
  EXPECT_EQ(ram_.GetObject<uint8_t>(kData + 16), 0);
  EXPECT_TRUE(backend_->enabled(2));
  EXPECT_TRUE(backend_->enabled(3));
}

TEST_F(VhostUserTest, ANetworkGoesOnWhereTheUsedRingEnds) {
  FakeVhostBackend::Options options;
  options.protocol_features = vhost_user::kMultiQueue | vhost_user::kReplyAck;
  StartBackend(options);
  Attach(VhostUserNet::Create(NetOptions(), kMac));
  Start({&first_, &second_, &control_}, kVirtioVersion1 | kNetControlQueue);
  for (int i = 0; i < 3; ++i) second_.Post({{kData, 64}});
  driver_->Notify(1);
  ASSERT_TRUE(Eventually([&] { return second_.UsedIndex() == 3; }));
  backend_->Crash();
  ASSERT_TRUE(Eventually([&] { return backend_->Count(Request::kSetVringKick) == 4; }));
  EXPECT_EQ(backend_->base(1), 3);
  second_.Post({{kData, 64}});
  driver_->Notify(1);
  EXPECT_TRUE(Eventually([&] { return second_.UsedIndex() == 4; }));
}

// What a back end sends, byte by byte, in place of a back end.
class Scripted : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  void Say(vhost_user::Header header, std::vector<uint8_t> payload) {
    ASSERT_EQ(write(theirs_.get(), &header, sizeof header), static_cast<ssize_t>(sizeof header));
    ASSERT_EQ(write(theirs_.get(), payload.data(), payload.size()), static_cast<ssize_t>(payload.size()));
  }
  Status Connect() { return vhost_user::Frontend::Create(std::move(ours_), 0, 50ms).status(); }

  UniqueFd ours_, theirs_;
};

TEST_F(Scripted, ASilentBackEndIsNotWaitedForForEver) {
  EXPECT_EQ(Connect().code(), StatusCode::kDeadlineExceeded);
}

// It listens, and takes nobody in.
TEST(VhostUserFrontend, ABackEndWhoseQueueIsFullIsNotWaitedForAtAll) {
  const std::string path = testing::TempDir() + "full.sock";
  unlink(path.c_str());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  std::vector<UniqueFd> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    static_cast<void>(
        connect(waiting.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  }

  EXPECT_EQ(vhost_user::Frontend::Connect(path, 0, 50ms).status().code(), StatusCode::kUnavailable);
  unlink(path.c_str());
}

TEST_F(Scripted, ABackEndThatHangsUpIsUnavailable) {
  shutdown(theirs_.get(), SHUT_WR);
  EXPECT_EQ(Connect().code(), StatusCode::kUnavailable);
}

TEST_F(Scripted, MessagesThatBreakTheProtocolAreRefused) {
  for (const vhost_user::Header header :
       {vhost_user::Header{1, 2 | vhost_user::Header::kReply, 8},
        vhost_user::Header{1, 1 | vhost_user::Header::kReply, 5000},
        vhost_user::Header{15, 1 | vhost_user::Header::kReply, 8}, vhost_user::Header{1, 1, 8},
        vhost_user::Header{1, 1 | vhost_user::Header::kReply, 4}}) {
    SetUp();
    Say(header, std::vector<uint8_t>(std::min<uint32_t>(header.size, 8), 0));
    EXPECT_EQ(Connect().code(), StatusCode::kDataLoss) << header.request << " " << header.flags;
  }
}

}  // namespace
}  // namespace berth::vmm
