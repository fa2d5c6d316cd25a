#include <fcntl.h>
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstdio>
#include <fstream>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "common/unique_fd.h"
#include "vmm/memory/zone_backing.h"
#include "vmm/memory/zoned_memory.h"
#include "vmm/snapshot/memory_image.h"
#include "vmm/snapshot/memory_pager.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;

MemoryZoneConfig Zone(const std::string& id, uint64_t size, bool shared) {
  MemoryZoneConfig zone;
  zone.id = id;
  zone.size = ByteSize(size);
  zone.shared = shared;
  return zone;
}

UniqueFd TemporaryFile() {
  std::string name = (std::filesystem::temp_directory_path() / "berth-image-XXXXXX").string();
  UniqueFd file(::mkstemp(name.data()));
  CHECK(file.valid());
  ::unlink(name.c_str());
  return file;
}

const auto kNothingStays = [](const std::string&) { return false; };

// Anonymous memory and a memfd, with a few pages of random bytes, and the same empty.
class MemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    source_ = *ZonedMemory::Create(zones_);
    std::mt19937_64 random(7);
    for (const MemoryRegion& region : source_->memory().regions()) {
      for (int i = 0; i < 40; ++i) {
        const uint64_t at = random() % (region.size / 4096) * 4096;
        for (uint64_t b = 0; b < 4096; b += 8) {
          const uint64_t value = random();
          std::memcpy(region.host + at + b, &value, 8);
        }
      }
    }
    const std::vector<MemoryRegion> runs = source_->memory().PresentRuns();
    plan_ = PlanMemoryImage(runs, kNothingStays);
    ASSERT_EQ(WriteMemoryImage(file_.get(), runs, plan_), OkStatus());
    target_ = *ZonedMemory::Create(zones_);
  }
  bool Same() {
    const auto& a = source_->memory().regions();
    const auto& b = target_->memory().regions();
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::memcmp(a[i].host, b[i].host, a[i].size) != 0) return false;
    }
    return true;
  }
  Result<std::unique_ptr<MemoryPager>> Page() {
    TRY_ASSIGN(auto pieces, MatchImage(target_->memory().PresentRuns(), plan_));
    return MemoryPager::Start(UniqueFd(::dup(file_.get())), pieces,
                              [this](const Status& status) { lost_ = status; });
  }

  std::vector<MemoryZoneConfig> zones_ = {Zone("a", 8 * kMiB, false), Zone("b", 4 * kMiB, true)};
  UniqueFd file_ = TemporaryFile();
  std::unique_ptr<ZonedMemory> source_, target_;
  std::vector<SavedRun> plan_;
  Status lost_;
};

TEST_F(MemoryTest, ComesBackByCopyAndHasHolesWhereItIsZero) {
  auto pieces = *MatchImage(target_->memory().PresentRuns(), plan_);
  ASSERT_EQ(ReadMemoryImage(file_.get(), pieces), OkStatus());
  EXPECT_TRUE(Same());
  struct stat info{};
  ASSERT_EQ(::fstat(file_.get(), &info), 0);
  EXPECT_EQ(info.st_size, 12 << 20);
  EXPECT_LT(info.st_blocks * 512, 12 << 20);
}

// A file that exists already is not empty where the image has holes.
TEST_F(MemoryTest, WhatAFileHadBeforeIsOverwritten) {
  const std::string path = testing::TempDir() + "memory_image_stale";
  {
    std::ofstream stale(path, std::ios::binary);
    stale << std::string(4 * kMiB, 'A');
  }
  zones_[1].file = path;
  target_ = *ZonedMemory::Create(zones_);
  EXPECT_EQ(target_->memory().regions()[1].host[0], 'A');

  ASSERT_EQ(ReadMemoryImage(file_.get(), *MatchImage(target_->memory().PresentRuns(), plan_)), OkStatus());

  EXPECT_TRUE(Same());
  std::remove(path.c_str());
}

TEST_F(MemoryTest, ReadsNothingThatWasNeverTouched) {
  auto fresh = *ZonedMemory::Create({Zone("c", 64 * kMiB, true)});
  const UniqueFd file = TemporaryFile();
  const std::vector<MemoryRegion> runs = fresh->memory().PresentRuns();
  ASSERT_EQ(WriteMemoryImage(file.get(), runs, PlanMemoryImage(runs, kNothingStays)), OkStatus());
  struct stat info{};
  ASSERT_EQ(::fstat(runs[0].fd, &info), 0);
  EXPECT_EQ(info.st_blocks, 0);  // reading a memfd would have given it pages
}

TEST_F(MemoryTest, ComesOnDemandWhileSeveralThreadsTouchIt) {
  auto pager = Page();
  // Where this user may have no userfaultfd; the text says what would let it.
  if (!pager.has_value()) GTEST_SKIP() << pager.error().ToString();
  std::atomic<uint64_t> different{0};
  std::vector<std::thread> readers;
  for (unsigned seed = 0; seed < 3; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      const auto& from = source_->memory().regions();
      const auto& to = target_->memory().regions();
      for (int i = 0; i < 2000; ++i) {
        const size_t which = random() % from.size();
        const uint64_t at = random() % (from[which].size / 8) * 8;
        if (std::memcmp(from[which].host + at, to[which].host + at, 8) != 0) ++different;
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(different, 0u);
  EXPECT_EQ((*pager)->Finish(), OkStatus());
  EXPECT_TRUE((*pager)->done());
  EXPECT_TRUE(Same());
}

// What the guest gave back stays zero, whether it had come before or not.
TEST_F(MemoryTest, WhatIsGivenBackDoesNotComeAgain) {
  auto pager = Page();
  // Where this user may have no userfaultfd; the text says what would let it.
  if (!pager.has_value()) GTEST_SKIP() << pager.error().ToString();
  for (const MemoryRegion& region : target_->memory().regions()) {
    ASSERT_EQ(DiscardPages(region.Part(0, region.size / 2)), OkStatus());
  }
  ASSERT_EQ((*pager)->Finish(), OkStatus());
  for (size_t i = 0; i < 2; ++i) {
    const MemoryRegion& from = source_->memory().regions()[i];
    const MemoryRegion& to = target_->memory().regions()[i];
    const std::vector<uint8_t> zeros(from.size / 2);
    EXPECT_EQ(std::memcmp(to.host, zeros.data(), zeros.size()), 0);
    EXPECT_EQ(std::memcmp(to.host + to.size / 2, from.host + from.size / 2, from.size / 2), 0);
  }
}

TEST_F(MemoryTest, TellsOfAFileThatHasBecomeShorter) {
  ASSERT_EQ(::ftruncate(file_.get(), 4096), 0);
  // Data behind the new end: none, so the file is made to look as if there were.
  ASSERT_EQ(::pwrite(file_.get(), "x", 1, 8192), 1);
  auto pager = Page();
  // Where this user may have no userfaultfd; the text says what would let it.
  if (!pager.has_value()) GTEST_SKIP() << pager.error().ToString();
  EXPECT_EQ((*pager)->Finish().code(), StatusCode::kDataLoss);
  EXPECT_EQ(lost_.code(), StatusCode::kDataLoss);
}

TEST_F(MemoryTest, EndsEarlyWithItsMachine) {
  auto pager = Page();
  // Where this user may have no userfaultfd; the text says what would let it.
  if (!pager.has_value()) GTEST_SKIP() << pager.error().ToString();
  pager->reset();
  EXPECT_EQ(lost_, OkStatus());
}

TEST(MemoryImage, ZonesInFilesStayThere) {
  const std::string file = testing::TempDir() + "zone_file";
  MemoryZoneConfig zone = Zone("a", kMiB, true);
  EXPECT_FALSE(StaysInItsFile(zone));
  zone.file = file;
  EXPECT_TRUE(StaysInItsFile(zone));
  zone.shared = false;  // what the guest writes is not in the file
  EXPECT_FALSE(StaysInItsFile(zone));
  zone.shared = true;
  zone.file = testing::TempDir();
  EXPECT_FALSE(StaysInItsFile(zone));
}

// A private mapping shows its file where the snapshot has zeros.
// Its room is reserved: pages that are there are never asked for, and the guest would read zeros.
TEST(MemoryImage, AFileInADirectoryDoesNotComeOnDemand) {
  MemoryZoneConfig zone = Zone("a", 1 * kMiB, true);
  for (bool in_directory : {false, true}) {
    if (in_directory) zone.file = testing::TempDir();
    auto memory = *ZonedMemory::Create({zone});
    const std::vector<MemoryRegion> runs = memory->memory().PresentRuns();
    const auto pieces = MatchImage(runs, PlanMemoryImage(runs, kNothingStays));
    ASSERT_TRUE(pieces.has_value());
    EXPECT_EQ(MemoryPager::CanPage((*pieces)[0]), !in_directory);
  }
}

TEST(MemoryImage, ZerosReplaceWhatAPrivateFileHas) {
  const std::string path = testing::TempDir() + "private_zone";
  MemoryZoneConfig zone = Zone("a", kMiB, false);
  zone.file = path;
  {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    const std::vector<uint8_t> ones(kMiB, 1);
    ASSERT_EQ(::write(file.get(), ones.data(), ones.size()), static_cast<ssize_t>(kMiB));
  }
  auto memory = *ZonedMemory::Create({zone});
  const std::vector<MemoryRegion> runs = memory->memory().PresentRuns();
  const std::vector<SavedRun> plan = PlanMemoryImage(runs, kNothingStays);
  const UniqueFd image = TemporaryFile();
  ASSERT_EQ(::ftruncate(image.get(), kMiB), 0);
  ASSERT_EQ(ReadMemoryImage(image.get(), *MatchImage(runs, plan)), OkStatus());
  EXPECT_EQ(runs[0].host[4096], 0);
  std::filesystem::remove(path);
}

TEST(MemoryImage, RefusesRunsThatDoNotFit) {
  const auto load = [](const std::vector<SavedRun>& plan, uint64_t file_size) {
    StateWriter out;
    SaveRuns(plan, out);
    const std::vector<uint8_t> bytes = std::move(out).Take();
    StateReader in(bytes);
    const std::vector<SavedRun> read = LoadRuns(file_size, in);
    EXPECT_TRUE(!in.ok() || read == plan);
    return in.Finish().ok();
  };
  EXPECT_TRUE(load({{0, kMiB, 0}, {kMiB, kMiB, std::nullopt}, {4 * kMiB, kMiB, kMiB}}, 2 * kMiB));
  EXPECT_FALSE(load({{0, kMiB, 0}}, kMiB - 4096));
  EXPECT_FALSE(load({{0, kMiB, UINT64_MAX - 4095}}, kMiB));
  EXPECT_FALSE(load({{0, 2 * kMiB, 0}, {kMiB, kMiB, 2 * kMiB}}, 4 * kMiB));
  EXPECT_FALSE(load({{0, kMiB, 0}, {kMiB, kMiB, 0}}, 4 * kMiB));
  EXPECT_FALSE(load({{4096, 100, 0}}, kMiB));
  EXPECT_FALSE(load({{0, 0, 0}}, kMiB));
  EXPECT_FALSE(load({{UINT64_MAX - 4095, 8192, 0}}, kMiB));
}

}  // namespace
}  // namespace berth::vmm
