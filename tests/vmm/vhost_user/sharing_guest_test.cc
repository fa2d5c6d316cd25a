#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/fake_vhost_backend.h"
#include "tests/fakes/virtio_driver.h"
#include "vmm/convert/converter.h"
#include "vmm/convert/fake_memory.h"
#include "vmm/vhost_user/block.h"

// A disk that another process serves, in a guest that shares only some of its memory. The fake back end takes
// it ill when memory goes from under rings that work.
namespace berth::vmm {
namespace {

using namespace std::chrono_literals;
using vhost_user::Request;
using Memory = std::map<uint64_t, uint64_t>;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kRing = 0x1000;
constexpr uint64_t kHeader = 0x9000;
constexpr uint64_t kData = 0x10000;
constexpr uint64_t kRam = 0x100000;

class SharingGuestTest : public testing::Test {
 protected:
  SharingGuestTest() {
    CHECK(converter_.Start().ok());
    ram_.memory().ShowOnly(&pages_);
  }
  ~SharingGuestTest() override {
    driver_.reset();
    transport_.reset();
    if (backend_) {
      EXPECT_EQ(backend_->offences(), std::vector<std::string>());
    }
    ram_.memory().ShowOnly(nullptr);
  }

  void StartBackend(FakeVhostBackend::Options options = {}) {
    options.config[0] = 0x80;
    options.serve = [](uint32_t, std::vector<FakeVhostBackend::Buffer>& buffers) {
      for (const auto& buffer : buffers) {
        if (buffer.at == nullptr) return FakeVhostBackend::kNotYet;  // it cannot reach that
      }
      std::memset(buffers[1].at, 0x5a, buffers[1].length);
      return static_cast<int>(buffers[1].length);
    };
    backend_.emplace(path_, std::move(options));
  }
  Result<std::shared_ptr<VhostUserBlock>> Create() {
    VhostUserBlock::Options options;
    options.id = "disk0";
    options.socket = path_;
    options.queue_size = 16;
    options.retry = 5ms;
    options.guest = vhost_user::SharingGuest{&converter_, &ram_.memory()};
    return VhostUserBlock::Create(options);
  }
  Status Share(uint64_t base, uint64_t size) {
    return converter_.Convert(base, size, Direction::kToShared).status();
  }
  Status Unshare(uint64_t base, uint64_t size) {
    return converter_.Convert(base, size, Direction::kToPrivate).status();
  }
  // A device whose rings and buffers are shared, and works.
  void Start() {
    ASSERT_TRUE(Share(kRing, kPage).ok());
    ASSERT_TRUE(Share(kHeader, kPage).ok());
    ASSERT_TRUE(Share(kData, 4 * kPage).ok());
    auto device = Create();
    ASSERT_TRUE(device.has_value()) << device.error().ToString();
    transport_ = *VirtioPciTransport::Create(*device, ram_.memory(), interrupts_, io_events_, nullptr, true);
    driver_.emplace(*transport_);
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1 | kVirtioAccessPlatform));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, queue_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  // Whether a request is served, into the data's page `page`.
  void ExpectServed(uint64_t page = 0) {
    const uint64_t at = kData + page * kPage;
    ram_.Put(at, std::vector<uint8_t>(512, 0));
    queue_.Post({{kHeader, 16}, {at, 512, true}});
    driver_->Notify(0);
    ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, ++served_));
    EXPECT_EQ(ram_.Get(at, 512), std::vector<uint8_t>(512, 0x5a));
  }

  std::string path_ = testing::TempDir() + "sharing-" + std::to_string(getpid()) + ".sock";
  GuestRam ram_{{{0, kRam}}, /*shared=*/true};
  GuestPages pages_{*PageStateMap::Create({{.base = 0, .size = kRam}})};
  FakeMemory kernel_{{.size = kRam}};
  Converter converter_{pages_, kernel_, kernel_, {}, {}};
  DriverQueue queue_{ram_, kRing, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::optional<FakeVhostBackend> backend_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
  size_t served_ = 0;
};

TEST_F(SharingGuestTest, ABackEndIsToldOfSharedMemoryOnly) {
  StartBackend();
  Start();
  EXPECT_EQ(backend_->memory(), (Memory{{kRing, kPage}, {kHeader, kPage}, {kData, 4 * kPage}}));
  EXPECT_EQ(backend_->Count(Request::kSetMemoryTable), 0u);
  ExpectServed();
}

TEST_F(SharingGuestTest, WhatBecomesSharedIsThereWhileTheDeviceWorks) {
  StartBackend();
  Start();
  ASSERT_TRUE(Share(kData + 4 * kPage, kPage).ok());
  EXPECT_EQ(backend_->memory().at(kData + 4 * kPage), kPage);
  EXPECT_EQ(backend_->Count(Request::kGetVringBase), 0u);  // nothing had to stop for it
  ExpectServed(4);
}

TEST_F(SharingGuestTest, WhatBecomesPrivateGoesAndTheDeviceGoesOn) {
  StartBackend();
  Start();
  ExpectServed();
  ASSERT_TRUE(Unshare(kData + kPage, kPage).ok());
  EXPECT_EQ(backend_->memory(),
            (Memory{{kRing, kPage}, {kHeader, kPage}, {kData, kPage}, {kData + 2 * kPage, 2 * kPage}}));
  EXPECT_EQ(backend_->Count(Request::kGetVringBase), 1u);
  ExpectServed();
  ExpectServed(3);
  EXPECT_EQ(queue_.UsedIndex(), 3);  // each once
}

TEST_F(SharingGuestTest, PagesOfRingsThatWorkStayShared) {
  StartBackend();
  Start();
  const Status refused = Unshare(kRing, kPage);
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("a ring of the vhost-user device disk0"), std::string::npos);
  EXPECT_EQ(pages_.Visible(kRing, kPage), kPage);
  ExpectServed();
  driver_->SetStatus(0);
  EXPECT_TRUE(Unshare(kRing, kPage).ok());
  EXPECT_FALSE(backend_->memory().contains(kRing));
}

TEST_F(SharingGuestTest, ABackEndWithoutSlotsIsRefused) {
  FakeVhostBackend::Options options;
  options.protocol_features &= ~vhost_user::kMemorySlots;
  StartBackend(options);
  const Status refused = Create().status();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("CONFIGURE_MEM_SLOTS"), std::string::npos);
}

TEST_F(SharingGuestTest, PiecesAreJoinedBeforeTheSlotsRunOut) {
  FakeVhostBackend::Options options;
  options.memory_slots = 5;
  StartBackend(options);
  Start();  // three pieces
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(Share(kData + (4 + i) * kPage, kPage).ok());
  EXPECT_LE(backend_->memory().size(), 5u);
  ExpectServed(7);
}

TEST_F(SharingGuestTest, MorePiecesThanSlotsAreRefusedAndAllIsAsBefore) {
  FakeVhostBackend::Options options;
  options.memory_slots = 4;
  StartBackend(options);
  Start();
  ASSERT_TRUE(Share(0x40000, kPage).ok());
  const Memory before = backend_->memory();
  const Status refused = Share(0x50000, kPage);
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("4 pieces of shared memory, it would be 5"), std::string::npos);
  EXPECT_EQ(backend_->memory(), before);
  EXPECT_EQ(pages_.Visible(0x50000, kPage), 0u);
  ExpectServed();
}

TEST_F(SharingGuestTest, WhatABackEndRefusesIsNotShared) {
  StartBackend();
  Start();
  const Memory before = backend_->memory();
  backend_->RefuseMemory(1);
  EXPECT_EQ(Share(0x40000, kPage).code(), StatusCode::kInternal);
  EXPECT_EQ(pages_.Visible(0x40000, kPage), 0u);
  backend_->RefuseMemory(0);
  EXPECT_EQ(backend_->memory(), before);
  ExpectServed();
}

TEST_F(SharingGuestTest, PiecesBeforeARefusedOneAreTakenBackWhileNoRingWorks) {
  StartBackend();
  Start();
  ASSERT_TRUE(Share(0x41000, kPage).ok());
  const Memory before = backend_->memory();
  backend_->RefusePiece(2);
  EXPECT_EQ(Share(0x40000, 3 * kPage).code(), StatusCode::kInternal);  // two pieces around the shared one
  EXPECT_EQ(backend_->memory(), before);
  EXPECT_EQ(pages_.Visible(0x40000, kPage), 0u);
  ExpectServed();
}

TEST_F(SharingGuestTest, ABackEndThatKeepsPrivateMemoryIsLeft) {
  StartBackend();
  Start();
  backend_->RefuseMemory(1);
  EXPECT_TRUE(Unshare(kData + kPage, kPage).ok());
  // It comes again, and knows what is shared now.
  while (backend_->Count(Request::kSetVringKick) < 2) std::this_thread::sleep_for(2ms);
  EXPECT_FALSE(backend_->memory().contains(kData + kPage));
  ExpectServed(2);
}

TEST_F(SharingGuestTest, ANewBackEndIsToldOfWhatWasSharedMeanwhile) {
  StartBackend();
  Start();
  backend_->Refuse(true);
  backend_->Crash();
  ASSERT_TRUE(Share(kData + 4 * kPage, 2 * kPage).ok());
  ASSERT_TRUE(Unshare(kData, kPage).ok());
  queue_.Post({{kHeader, 16}, {kData + 5 * kPage, 512, true}});
  backend_->Refuse(false);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, ++served_));
  EXPECT_EQ(backend_->memory(), (Memory{{kRing, kPage}, {kHeader, kPage}, {kData + kPage, 5 * kPage}}));
}

TEST_F(SharingGuestTest, ADeviceThatHasGoneIsToldNothing) {
  StartBackend();
  Start();
  driver_.reset();
  transport_.reset();
  EXPECT_TRUE(Unshare(kRing, kPage).ok());
}

TEST_F(SharingGuestTest, VcpusConvertWhileTheDeviceWorks) {
  StartBackend();
  Start();
  std::vector<std::thread> vcpus;
  for (uint64_t v = 0; v < 3; ++v) {
    vcpus.emplace_back([this, v] {
      const uint64_t base = 0x40000 + v * 0x10000;
      for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(Share(base + (i % 4) * kPage, 2 * kPage).ok());
        ASSERT_TRUE(Unshare(base + (i % 4) * kPage, kPage).ok());
        ASSERT_TRUE(Unshare(base, 8 * kPage).ok());
      }
    });
  }
  for (uint64_t i = 0; i < 40; ++i) ExpectServed(i % 4);
  for (std::thread& vcpu : vcpus) vcpu.join();
  EXPECT_EQ(queue_.UsedIndex(), 40);
  EXPECT_EQ(backend_->memory(), (Memory{{kRing, kPage}, {kHeader, kPage}, {kData, 4 * kPage}}));
}

}  // namespace
}  // namespace berth::vmm
