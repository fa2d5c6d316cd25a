#include "vmm/virtio/block.h"
#include "vmm/virtio/io_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kHeader = 0x8000;
constexpr uint64_t kStatus = 0x8100;
constexpr uint64_t kData = 0x10000;
constexpr uint32_t kIn = 0;
constexpr uint32_t kOut = 1;
constexpr uint32_t kFlush = 4;
constexpr uint32_t kGetId = 8;
constexpr uint32_t kDiscard = 11;
constexpr uint32_t kWriteZeroes = 13;
constexpr uint64_t kFlushFeature = 1 << 9;

// With io_uring, and without.
class BlockTest : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr uint64_t kSectors = 256;

  void SetUp() override {
    path_ = testing::TempDir() + "disk-XXXXXX";
    UniqueFd fd(mkstemp(path_.data()));
    ASSERT_TRUE(fd.valid());
    std::vector<uint8_t> content(kSectors * 512);
    for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<uint8_t>(1 + i / 512);
    ASSERT_EQ(write(fd.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  }
  void TearDown() override { unlink(path_.c_str()); }

  void Attach(bool readonly = false, bool direct = false) {
    auto disk = DiskFile::Open(path_, readonly, direct);
    ASSERT_TRUE(disk.has_value()) << disk.status().ToString();
    transport_ = *VirtioPciTransport::Create(
        *VirtioBlock::Create(std::move(*disk), {.id = "disk0", .io_uring = GetParam()}), ram_.memory(),
        interrupts_, io_events_);
    driver_.emplace(*transport_);
  }
  void Start(uint64_t features = kVirtioVersion1 | kVirtioIndirect | kFlushFeature) {
    if (!transport_) Attach();
    ASSERT_TRUE(driver_->Negotiate(features));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, queue_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  // Waits until the device has returned all that was posted.
  void Finish() {
    driver_->Notify(0);
    ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 1, ++expected_));
  }
  // One request with at most one data buffer; returns its status.
  int Request(uint32_t type, uint64_t sector, uint32_t length, bool device_writes, uint64_t address = kData) {
    ram_.PutObject<uint32_t>(kHeader, type);
    ram_.PutObject<uint64_t>(kHeader + 8, sector);
    ram_.PutObject<uint8_t>(kStatus, 0xee);
    std::vector<DriverQueue::Buffer> buffers = {{kHeader, 16}};
    if (length != 0) buffers.push_back({address, length, device_writes});
    buffers.push_back({kStatus, 1, true});
    queue_.Post(buffers);
    Finish();
    return ram_.GetObject<uint8_t>(kStatus);
  }
  int Range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags) {
    ram_.PutObject<uint64_t>(kData, sector);
    ram_.PutObject<uint32_t>(kData + 8, sectors);
    ram_.PutObject<uint32_t>(kData + 12, flags);
    return Request(type, 0, 16, false);
  }
  std::vector<uint8_t> FileBytes(uint64_t offset, size_t size) {
    UniqueFd fd(open(path_.c_str(), O_RDONLY));
    std::vector<uint8_t> bytes(size);
    EXPECT_EQ(pread(fd.get(), bytes.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    return bytes;
  }

  std::string path_;
  GuestRam ram_{{{0, 0x100000}, {0x100000, 0x10000}}};
  DriverQueue queue_{ram_, 0x1000, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
  size_t expected_ = 0;
};

TEST_P(BlockTest, TellsItsGeometry) {
  Attach();
  EXPECT_EQ(driver_->Read<uint64_t>(0x2000), kSectors);
  EXPECT_EQ(driver_->Read<uint32_t>(0x200c), 254u);  // seg_max
  EXPECT_EQ(driver_->Read<uint32_t>(0x2014), 512u);  // blk_size
  EXPECT_EQ(driver_->Read<uint16_t>(0x2022), 1u);    // num_queues
  EXPECT_EQ(driver_->Read<uint64_t>(0x2ff8), 0u);
}

TEST_P(BlockTest, SeveralQueuesAreServedSideBySide) {
  auto disk = DiskFile::Open(path_, false, false);
  VirtioBlock::Options options{
      .id = "disk0", .serial = "SN42", .queues = 3, .queue_size = 64, .io_uring = GetParam()};
  transport_ = *VirtioPciTransport::Create(*VirtioBlock::Create(std::move(*disk), options), ram_.memory(),
                                           interrupts_, io_events_);
  driver_.emplace(*transport_);
  EXPECT_TRUE(driver_->DeviceFeatures() & (1 << 12));
  EXPECT_EQ(driver_->Read<uint16_t>(0x2022), 3u);
  EXPECT_EQ(driver_->Read<uint32_t>(0x200c), 62u);
  DriverQueue second{ram_, 0x3000, 16};
  ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1 | kFlushFeature | 1 << 12));
  driver_->EnableMsix(4);
  driver_->SetUpQueue(0, queue_);
  driver_->SetUpQueue(2, second);  // the driver leaves one out
  driver_->Start();
  ASSERT_EQ(driver_->status(), 0x0f);

  EXPECT_EQ(Request(kIn, 3, 512, true), 0);
  ram_.PutObject<uint32_t>(0x9000, kGetId);
  second.Post({{0x9000, 16}, {kData + 0x1000, 20, true}, {0x9100, 1, true}});
  driver_->Notify(2);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData + 3, 1));
  EXPECT_EQ(ram_.Get(kData + 0x1000, 5), (std::vector<uint8_t>{'S', 'N', '4', '2', 0}));
}

TEST_P(BlockTest, ARateLimitDelaysAndLosesNothing) {
  auto disk = DiskFile::Open(path_, false, false);
  VirtioBlock::Options options{.id = "disk0", .io_uring = GetParam()};
  options.limits.operations = {1, 0, 2};  // one at once, then one in 2 ms
  const auto begin = std::chrono::steady_clock::now();
  transport_ = *VirtioPciTransport::Create(*VirtioBlock::Create(std::move(*disk), options), ram_.memory(),
                                           interrupts_, io_events_);
  driver_.emplace(*transport_);
  Start();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Request(kIn, 3, 512, true), 0) << i;
  // It may be late, and is never early.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(9 * 2));
}

TEST_P(BlockTest, ADiskGrowsWhileItIsUsed) {
  auto disk = DiskFile::Open(path_, false, false);
  auto device = *VirtioBlock::Create(std::move(*disk), {.id = "disk0", .io_uring = GetParam()});
  transport_ = *VirtioPciTransport::Create(device, ram_.memory(), interrupts_, io_events_);
  driver_.emplace(*transport_);
  Start();
  EXPECT_EQ(Request(kIn, kSectors, 512, true), 1);

  ASSERT_TRUE(device->Grow((kSectors + 8) * 512).ok());

  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), 1u);
  EXPECT_EQ(driver_->Read<uint64_t>(0x2000), kSectors + 8);
  EXPECT_EQ(Request(kIn, kSectors, 512, true), 0);
  EXPECT_EQ(device->Grow(512).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(device->Grow((kSectors + 8) * 512 + 1).code(), StatusCode::kInvalidArgument);
}

TEST_P(BlockTest, ReadsSectors) {
  Start();
  EXPECT_EQ(Request(kIn, 3, 1024, true), 0);
  EXPECT_EQ(ram_.Get(kData, 512), std::vector<uint8_t>(512, 4));
  EXPECT_EQ(ram_.Get(kData + 512, 512), std::vector<uint8_t>(512, 5));
  EXPECT_EQ(queue_.Used(0), (DriverQueue::UsedElement{0, 1025}));
}

TEST_P(BlockTest, WritesSectorsAcrossGuestRegions) {
  Start();
  ram_.Put(0xffe00, std::vector<uint8_t>(1024, 0xab));
  EXPECT_EQ(Request(kOut, 10, 1024, false, 0xffe00), 0);
  EXPECT_EQ(FileBytes(5120, 1024), std::vector<uint8_t>(1024, 0xab));
  EXPECT_EQ(FileBytes(6144, 1), std::vector<uint8_t>(1, 13));
  EXPECT_EQ(queue_.Used(0), (DriverQueue::UsedElement{0, 1}));
}

TEST_P(BlockTest, TakesHeaderAndDataInAnyPieces) {
  Start();
  ram_.PutObject<uint32_t>(kHeader, kOut);
  ram_.PutObject<uint64_t>(kHeader + 8, 7);
  ram_.Put(kHeader + 16, std::vector<uint8_t>(512, 0x77));
  queue_.PostIndirect({{kHeader, 5}, {kHeader + 5, 100}, {kHeader + 105, 423}, {kStatus, 1, true}});
  Finish();
  EXPECT_EQ(ram_.GetObject<uint8_t>(kStatus), 0);
  EXPECT_EQ(FileBytes(7 * 512, 512), std::vector<uint8_t>(512, 0x77));
}

TEST_P(BlockTest, RefusesRequestsOutsideTheDisk) {
  Start();
  EXPECT_EQ(Request(kIn, kSectors, 512, true), 1);
  EXPECT_EQ(Request(kIn, kSectors - 1, 1024, true), 1);
  EXPECT_EQ(Request(kIn, ~uint64_t{0}, 512, true), 1);
  EXPECT_EQ(Request(kOut, ~uint64_t{0} >> 9, 1024, false), 1);
  EXPECT_EQ(Request(kIn, 0, 500, true), 1);  // not whole sectors
  EXPECT_EQ(Request(kIn, kSectors - 1, 512, true), 0);
}

TEST_P(BlockTest, ReportsAnErrorWhenTheFileHasShrunk) {
  Start();
  ASSERT_EQ(truncate(path_.c_str(), 512 * 10), 0);
  EXPECT_EQ(Request(kIn, 9, 1024, true), 1);
  EXPECT_EQ(Request(kIn, 9, 512, true), 0);
}

TEST_P(BlockTest, RefusesToWriteAReadOnlyDisk) {
  Attach(true);
  EXPECT_TRUE(driver_->DeviceFeatures() & 1 << 5);
  Start();
  EXPECT_EQ(Request(kOut, 0, 512, false), 1);
  EXPECT_EQ(Range(kWriteZeroes, 0, 1, 0), 2);
  EXPECT_EQ(FileBytes(0, 1), std::vector<uint8_t>(1, 1));
  EXPECT_EQ(Request(kIn, 0, 512, true), 0);
}

TEST_P(BlockTest, FlushesTellsItsIdAndRefusesUnknownRequests) {
  Start();
  EXPECT_EQ(Request(kFlush, 0, 0, false), 0);
  EXPECT_EQ(Request(kGetId, 0, 20, true), 0);
  EXPECT_EQ(ram_.Get(kData, 6), (std::vector<uint8_t>{'d', 'i', 's', 'k', '0', 0}));
  ram_.Put(kData, {9, 9, 9});
  EXPECT_EQ(Request(kGetId, 0, 2, true), 0);
  EXPECT_EQ(ram_.Get(kData, 3), (std::vector<uint8_t>{'d', 'i', 9}));
  EXPECT_EQ(Request(99, 0, 512, true), 2);
}

TEST_P(BlockTest, WritesZeroesAndDiscards) {
  Start();
  EXPECT_EQ(Range(kWriteZeroes, 4, 2, 0), 0);
  EXPECT_EQ(Range(kWriteZeroes, 20, 1, 1), 0);
  EXPECT_EQ(FileBytes(4 * 512, 1024), std::vector<uint8_t>(1024, 0));
  EXPECT_EQ(FileBytes(6 * 512, 1), std::vector<uint8_t>(1, 7));
  EXPECT_EQ(FileBytes(20 * 512, 512), std::vector<uint8_t>(512, 0));
  if (driver_->DeviceFeatures() & 1 << 13) {
    EXPECT_EQ(Range(kDiscard, 32, 8, 0), 0);
    EXPECT_EQ(FileBytes(32 * 512, 4096), std::vector<uint8_t>(4096, 0));
    EXPECT_EQ(Range(kDiscard, 0, 1, 1), 2);  // the unmap flag is for zeroes
  }
}

TEST_P(BlockTest, RefusesBadRanges) {
  Start();
  EXPECT_EQ(Range(kWriteZeroes, kSectors, 1, 0), 1);
  EXPECT_EQ(Range(kWriteZeroes, 0, kSectors + 1, 0), 1);
  EXPECT_EQ(Range(kWriteZeroes, ~uint64_t{0}, 2, 0), 1);
  EXPECT_EQ(Range(kWriteZeroes, 0, 0xffffffff, 0), 1);
  EXPECT_EQ(Range(kWriteZeroes, 0, 1, 2), 2);  // reserved flag
  EXPECT_EQ(Request(kWriteZeroes, 0, 15, false), 1);
  EXPECT_EQ(Request(kWriteZeroes, 0, 17 * 16, false), 1);
  EXPECT_EQ(Request(kWriteZeroes, 0, 0, false), 1);
}

TEST_P(BlockTest, WorksPastThePageCacheWithUnalignedGuestBuffers) {
  auto probe = DiskFile::Open(path_, false, true);
  if (!probe) GTEST_SKIP() << "no direct I/O here: " << probe.status().ToString();
  const uint32_t block = probe->block_size();
  probe = InvalidArgument("closed");
  Attach(false, true);
  Start();
  ram_.Put(kData + 3, std::vector<uint8_t>(block, 0x5c));
  EXPECT_EQ(Request(kOut, 8, block, false, kData + 3), 0);
  EXPECT_EQ(FileBytes(8 * 512, block), std::vector<uint8_t>(block, 0x5c));
  EXPECT_EQ(Request(kIn, 8, block, true, kData + 0x10001), 0);
  EXPECT_EQ(ram_.Get(kData + 0x10001, block), std::vector<uint8_t>(block, 0x5c));
  EXPECT_EQ(Request(kIn, 8, block, true, kData), 0);
  EXPECT_EQ(ram_.Get(kData, block), std::vector<uint8_t>(block, 0x5c));
}

TEST_P(BlockTest, NeedsAResetAfterARequestWithoutHeaderOrStatus) {
  for (const auto& buffers : {std::vector<DriverQueue::Buffer>{{kHeader, 15}, {kStatus, 1, true}},
                              std::vector<DriverQueue::Buffer>{{kHeader, 16}},
                              std::vector<DriverQueue::Buffer>{{kStatus, 1, true}}}) {
    DriverQueue fresh(ram_, 0x3000, 16);
    ram_.Put(0x3000, std::vector<uint8_t>(0x1000, 0));
    Attach();
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, fresh);
    driver_->Start();
    fresh.Post(buffers);
    driver_->Notify(0);
    ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData, ++expected_));
    EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
    EXPECT_EQ(fresh.UsedIndex(), 0);
    driver_.reset();
    transport_.reset();
  }
}

TEST_P(BlockTest, CanBeResetWhileRequestsArePending) {
  for (int round = 0; round < 50; ++round) {
    ram_.Put(0x1000, std::vector<uint8_t>(0x1000, 0));
    DriverQueue fresh(ram_, 0x1000, 16);
    if (!transport_) Attach();
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, fresh);
    driver_->Start();
    ram_.PutObject<uint32_t>(kHeader, kIn);
    for (int i = 0; i < 4; ++i) fresh.Post({{kHeader, 16}, {kData, 0x8000, true}, {kStatus, 1, true}});
    driver_->Notify(0);
    driver_->SetStatus(0);
    const uint16_t used = fresh.UsedIndex();
    EXPECT_EQ(driver_->status(), 0);
    EXPECT_EQ(fresh.UsedIndex(), used);
  }
}

// The timer of the limits is the last that may bring requests in.
TEST_P(BlockTest, ALimitedDiskIsResetWhileItsQueueIsFull) {
  auto disk = DiskFile::Open(path_, false, false);
  VirtioBlock::Options options{.id = "disk0", .io_uring = GetParam()};
  options.limits.operations = {8, 0, 1};
  transport_ = *VirtioPciTransport::Create(*VirtioBlock::Create(std::move(*disk), options), ram_.memory(),
                                           interrupts_, io_events_);
  driver_.emplace(*transport_);
  for (int round = 0; round < 60; ++round) {
    ram_.Put(0x1000, std::vector<uint8_t>(0x1000, 0));
    DriverQueue fresh(ram_, 0x1000, 16);
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1 | kVirtioIndirect));
    driver_->EnableMsix(2);
    driver_->SetUpQueue(0, fresh);
    driver_->Start();
    ram_.PutObject<uint32_t>(kHeader, kIn);
    for (int i = 0; i < 16; ++i) {
      fresh.PostIndirect({{kHeader, 16}, {kData, 0x8000, true}, {kStatus, 1, true}});
    }
    driver_->Notify(0);
    usleep(static_cast<useconds_t>(100 * (round % 20)));
    driver_->SetStatus(0);
    const uint16_t used = fresh.UsedIndex();
    EXPECT_EQ(driver_->status(), 0);
    usleep(1500);
    EXPECT_EQ(fresh.UsedIndex(), used);
  }
}

// Two snapshots of a machine one of whose drivers has asked for nonsense.
TEST_P(BlockTest, ADiskThatNeedsAResetIsSuspendedMoreThanOnce) {
  Start();
  queue_.Post({{kHeader, 15}, {kStatus, 1, true}});
  driver_->Notify(0);
  ASSERT_TRUE(interrupts_.WaitFor(VirtioDriver::kMsiData, 1));
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(transport_->Suspend(), OkStatus());
    StateWriter out;
    transport_->Save(out);
    transport_->Resume();
    EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
  }
  driver_->SetStatus(0);
  ram_.Put(0x1000, std::vector<uint8_t>(0x1000, 0));
  queue_ = DriverQueue(ram_, 0x1000, 16);
  Start();
  EXPECT_EQ(Request(kIn, 3, 512, true), 0);
}

TEST_P(BlockTest, RefusesADiskThatAnotherMachineWrites) {
  auto first = DiskFile::Open(path_, false, false);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(DiskFile::Open(path_, false, false).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(DiskFile::Open(path_, true, false).status().code(), StatusCode::kFailedPrecondition);
  first = InvalidArgument("closed");
  auto reader = DiskFile::Open(path_, true, false);
  EXPECT_TRUE(reader.has_value());
  EXPECT_TRUE(DiskFile::Open(path_, true, false).has_value());
}

TEST_P(BlockTest, CarriesOutAsManyRequestsAsTheQueueHolds) {
  Start();
  constexpr uint16_t kRequests = 5;  // of three descriptors each
  for (int round = 0; round < 20; ++round) {
    for (uint64_t i = 0; i < kRequests; ++i) {
      const uint64_t header = kHeader + 0x200 * i;
      ram_.PutObject<uint32_t>(header, kIn);
      ram_.PutObject<uint64_t>(header + 8, i + static_cast<uint64_t>(round));
      queue_.Post({{header, 16}, {kData + 0x1000 * i, 512, true}, {header + 0x100, 1, true}});
    }
    driver_->Notify(0);
    for (int wait = 0; queue_.UsedIndex() != kRequests * (round + 1) && wait < 15000; ++wait) usleep(1000);
    ASSERT_EQ(queue_.UsedIndex(), kRequests * (round + 1));
    for (uint64_t i = 0; i < kRequests; ++i) {
      EXPECT_EQ(ram_.GetObject<uint8_t>(kHeader + 0x200 * i + 0x100), 0);
      EXPECT_EQ(ram_.GetObject<uint8_t>(kData + 0x1000 * i), 1 + i + static_cast<uint64_t>(round));
    }
  }
}

TEST_P(BlockTest, MovesMoreThanOnePieceOfARequest) {
  ASSERT_EQ(truncate(path_.c_str(), 4 << 20), 0);
  GuestRam large({{0, 0x400000}});
  DriverQueue queue(large, 0x1000, 16);
  auto disk = DiskFile::Open(path_, false, false);
  transport_ = *VirtioPciTransport::Create(
      *VirtioBlock::Create(std::move(*disk), {.id = "disk0", .io_uring = GetParam()}), large.memory(),
      interrupts_, io_events_);
  driver_.emplace(*transport_);
  // Without the flush feature, so that the writes are durable by themselves.
  ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
  driver_->EnableMsix(2);
  driver_->SetUpQueue(0, queue);
  driver_->Start();
  constexpr uint32_t kBytes = 3 << 20;
  std::vector<uint8_t> content(kBytes);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<uint8_t>(i * 7 + i / 4096);
  large.Put(0x100000, content);
  large.PutObject<uint32_t>(kHeader, kOut);
  large.PutObject<uint64_t>(kHeader + 8, 1);
  queue.Post({{kHeader, 16}, {0x100000, kBytes}, {kStatus, 1, true}});
  Finish();
  EXPECT_EQ(large.GetObject<uint8_t>(kStatus), 0);
  EXPECT_EQ(FileBytes(512, kBytes), content);
  large.Put(0x100000, std::vector<uint8_t>(kBytes, 0));
  large.PutObject<uint32_t>(kHeader, kIn);
  queue.Post({{kHeader, 16}, {0x100000, kBytes, true}, {kStatus, 1, true}});
  Finish();
  EXPECT_EQ(large.Get(0x100000, kBytes), content);
  driver_.reset();
  transport_.reset();
}

INSTANTIATE_TEST_SUITE_P(Engine, BlockTest, ::testing::Bool(), [](const auto& test) {
  return test.param ? std::string("IoUring") : std::string("InTurn");
});

// With it, io_uring serves the page cache at once also where the file system does not offer that by itself.
TEST(DiskFile, AsksForNoWaiting) {
  std::string path = testing::TempDir() + "waits-XXXXXX";
  UniqueFd fd(mkstemp(path.data()));
  ASSERT_EQ(ftruncate(fd.get(), 4096), 0);
  auto disk = DiskFile::Open(path, false, false);
  ASSERT_TRUE(disk.has_value()) << disk.status().ToString();
  EXPECT_NE(fcntl(disk->fd(), F_GETFL) & O_NONBLOCK, 0);
  unlink(path.c_str());
}

// What a request is that was answered "not now" once.
TEST(IoRing, MovesDataByAThreadOfTheKernel) {
  auto ring = IoRing::Create(4);
  if (!ring.has_value()) GTEST_SKIP() << ring.status().ToString();
  std::string path = testing::TempDir() + "async-XXXXXX";
  UniqueFd fd(mkstemp(path.data()));
  unlink(path.c_str());
  ASSERT_EQ(fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
  std::string out = "what is written", in(out.size(), ' ');
  const iovec from{out.data(), out.size()}, to{in.data(), in.size()};

  (*ring)->Write(fd.get(), {&from, 1}, 100, false, 1, true);
  ASSERT_TRUE((*ring)->Submit(1).ok());
  EXPECT_EQ((*ring)->Take()->result, static_cast<int32_t>(out.size()));
  (*ring)->Read(fd.get(), {&to, 1}, 100, 2, true);
  ASSERT_TRUE((*ring)->Submit(1).ok());
  EXPECT_EQ((*ring)->Take()->result, static_cast<int32_t>(in.size()));

  EXPECT_EQ(in, out);
}

// It shows whole sectors only, and what is behind them is not for a resize to cut off.
TEST(DiskFile, GrowingNeverShortensTheFile) {
  std::string path = testing::TempDir() + "tail-XXXXXX";
  UniqueFd fd(mkstemp(path.data()));
  ASSERT_EQ(ftruncate(fd.get(), 4096 + 300), 0);
  auto disk = DiskFile::Open(path, false, false);
  ASSERT_TRUE(disk.has_value()) << disk.status().ToString();
  EXPECT_EQ(disk->size(), 4096u);
  EXPECT_TRUE(disk->Grow(4096).ok());
  EXPECT_EQ(std::filesystem::file_size(path), 4096u + 300);
  EXPECT_TRUE(disk->Grow(8192).ok());
  EXPECT_EQ(std::filesystem::file_size(path), 8192u);
  EXPECT_EQ(disk->Grow(8192 + 100).field(), "desired_size");
  unlink(path.c_str());
}

TEST(DiskFile, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(DiskFile::Open("/nonexistent/disk", false, false).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(DiskFile::Open("/dev/null", false, false).status().code(), StatusCode::kInvalidArgument);
  std::string path = testing::TempDir() + "short-XXXXXX";
  UniqueFd fd(mkstemp(path.data()));
  ASSERT_EQ(write(fd.get(), "x", 1), 1);
  auto disk = DiskFile::Open(path, false, false);
  EXPECT_EQ(disk.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(disk.status().message().find("1 bytes is smaller than a sector"), std::string::npos);
  unlink(path.c_str());
}

}  // namespace
}  // namespace berth::vmm
