#include "vmm/memory/zoned_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/file.h"
#include "vmm/memory/huge_pages.h"
#include "vmm/memory/zone_backing.h"

namespace berth::vmm {
namespace {

MemoryZoneConfig Zone(const std::string& id, ByteSize size) {
  MemoryZoneConfig zone;
  zone.id = id;
  zone.size = size;
  return zone;
}

// Kilobytes of the mapping that holds `host`, by the name of a field of /proc/self/smaps.
uint64_t Smaps(const uint8_t* host, const std::string& field) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      auto address = reinterpret_cast<uintptr_t>(host);
      inside = address >= begin && address < end;
    } else if (inside && line.starts_with(field + ":")) {
      return std::stoull(line.substr(field.size() + 1));
    }
  }
  return 0;
}

TEST(ZonedMemory, MapsZonesOneBehindTheOther) {
  auto zoned = *ZonedMemory::Create({Zone("a", MiB(4)), Zone("b", MiB(2))});

  const auto& regions = zoned->memory().regions();
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[1].zone, "b");
  EXPECT_EQ(Raw(regions[1].base), 4u << 20);
  EXPECT_EQ(regions[0].fd, -1);
  // Host and guest agree on where huge pages may start.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(regions[1].host) % (2 << 20), Raw(regions[1].base) % (2 << 20));
  ASSERT_TRUE(zoned->memory().WriteObject<uint64_t>(Gpa{(4 << 20) - 4}, 0x1122334455667788).ok());
  EXPECT_EQ(*zoned->memory().ReadObject<uint32_t>(Gpa{4 << 20}), 0x11223344u);
}

TEST(ZonedMemory, TakesNoMemoryBeforeItIsTouchedUnlessAskedTo) {
  MemoryZoneConfig eager = Zone("eager", MiB(8));
  eager.prefault = true;

  auto zoned = *ZonedMemory::Create({Zone("lazy", MiB(8)), eager});

  EXPECT_EQ(Smaps(zoned->memory().regions()[0].host, "Rss"), 0u);
  EXPECT_EQ(Smaps(zoned->memory().regions()[1].host, "Rss"), 8192u);
}

TEST(ZonedMemory, SharesAZoneByAFile) {
  MemoryZoneConfig zone = Zone("shared", MiB(2));
  zone.shared = true;

  auto zoned = *ZonedMemory::Create({zone});

  struct stat info;
  ASSERT_EQ(::fstat(zoned->memory().regions()[0].fd, &info), 0);
  EXPECT_EQ(info.st_size, 2 << 20);
  ASSERT_TRUE(zoned->memory().WriteObject<uint32_t>(Gpa{16}, 77).ok());
  uint32_t value = 0;
  EXPECT_EQ(::pread(zoned->memory().regions()[0].fd, &value, 4, 16), 4);
  EXPECT_EQ(value, 77u);
}

TEST(ZonedMemory, LeavesNothingInADirectory) {
  std::string directory = testing::TempDir() + "zone_directory";
  std::filesystem::create_directories(directory);
  MemoryZoneConfig zone = Zone("dir", MiB(2));
  zone.file = directory;

  auto zoned = ZonedMemory::Create({zone});

  ASSERT_TRUE(zoned.has_value()) << zoned.error().ToString();
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  EXPECT_TRUE((*zoned)->memory().WriteObject<uint32_t>(Gpa{0}, 1).ok());
  std::filesystem::remove_all(directory);
}

TEST(ZonedMemory, WritesASharedFileThrough) {
  std::string path = testing::TempDir() + "zone_file";
  MemoryZoneConfig zone = Zone("file", MiB(1));
  zone.file = path;
  zone.shared = true;

  {
    auto zoned = *ZonedMemory::Create({zone});
    ASSERT_TRUE(zoned->memory().WriteObject<uint32_t>(Gpa{0}, 0x64636261).ok());
  }

  EXPECT_EQ(std::filesystem::file_size(path), 1u << 20);
  EXPECT_EQ(ReadFile(path, 2 << 20)->substr(0, 4), "abcd");
  std::filesystem::remove(path);
}

// A file of the test, with so many bytes, that goes with it.
class ZoneFileTest : public testing::Test {
 protected:
  ZoneFileTest() {
    zone_.file = path_;
    zone_.shared = true;
    Remove();
  }
  ~ZoneFileTest() override { Remove(); }
  void Remove() {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + "_again");
  }
  void Make(uint64_t size) {
    std::ofstream(path_) << "abc";
    std::filesystem::resize_file(path_, size);
  }
  Status Open() { return ZonedMemory::Create({zone_}).status(); }

  const std::string path_ =
      testing::TempDir() + "zone_file_" + testing::UnitTest::GetInstance()->current_test_info()->name();
  MemoryZoneConfig zone_ = Zone("m0", MiB(1));
};

TEST_F(ZoneFileTest, IsNeverMadeLonger) {
  Make(3);

  const Status status = Open();

  EXPECT_EQ(status.message(), "memory zone m0: " + path_ + " has 3, the zone needs 1M");
  EXPECT_EQ(status.hint(), "make it that long (truncate -s 1M), or remove it");
  EXPECT_EQ(std::filesystem::file_size(path_), 3u);
  Make(0);
  EXPECT_TRUE(Open().ok());  // of mktemp(1)
  EXPECT_EQ(std::filesystem::file_size(path_), 1u << 20);
}

TEST_F(ZoneFileTest, OfARestoredGuestMustBeThereAsItWas) {
  zone_.restored = true;

  EXPECT_EQ(Open().message(), "memory zone m0: " + path_ + " does not exist, the zone needs 1M");
  EXPECT_FALSE(std::filesystem::exists(path_));
  Make(0);
  EXPECT_EQ(Open().message(), "memory zone m0: " + path_ + " has 0, the zone needs 1M");
  Make(1 << 20);
  EXPECT_TRUE(Open().ok());
}

TEST_F(ZoneFileTest, BelongsToOneZoneByWhateverName) {
  Make(1 << 20);
  std::filesystem::create_hard_link(path_, path_ + "_again");
  MemoryZoneConfig other = zone_;
  other.id = "m1";
  other.file = path_ + "_again";

  EXPECT_EQ(ZonedMemory::Create({zone_, other}).status().message(),
            "memory zone m1: " + path_ + "_again is the file of zone m0, too");
}

TEST_F(ZoneFileTest, InADirectoryCannotBeBoundOnADisk) {
  struct statfs info{};
  ASSERT_EQ(::statfs(testing::TempDir().c_str(), &info), 0);
  if (info.f_type == TMPFS_MAGIC) GTEST_SKIP() << "files of this test are on a tmpfs";
  zone_.shared = false;
  zone_.host_numa_node = 0;
  zone_.file = testing::TempDir();

  const Status status = Open();

  EXPECT_EQ(status.message(),
            "memory zone m0: " + testing::TempDir() +
                " is on a file system that does not heed mbind(2): its pages cannot be bound to host node 0");
  EXPECT_EQ(status.field(), "host_numa_node");
  zone_.file = path_;  // the copies that a private mapping makes are anonymous
  EXPECT_EQ(Open(), OkStatus());
  zone_.file = "/dev/shm";
  const bool shm = ::statfs("/dev/shm", &info) == 0 && info.f_type == TMPFS_MAGIC;
  EXPECT_TRUE(!shm || Open().ok());
}

TEST_F(ZoneFileTest, OfADirectoryIsNotMerged) {
  zone_.shared = false;
  zone_.mergeable = true;
  zone_.file = testing::TempDir();
  EXPECT_EQ(Open().field(), "mergeable");
  zone_.file = path_;  // its private copies are anonymous memory
  EXPECT_EQ(Open(), OkStatus());
}

TEST(ZonedMemory, NamesTheZoneAndTheFileThatFail) {
  MemoryZoneConfig zone = Zone("m7", MiB(1));
  zone.file = "/nonexistent/file";

  EXPECT_EQ(ZonedMemory::Create({zone}).status().message(),
            "memory zone m7: open /nonexistent/file: No such file or directory");
}

TEST(ZonedMemory, RefusesAHostNodeThatIsNotThere) {
  MemoryZoneConfig zone = Zone("m0", MiB(1));
  zone.host_numa_node = 1000;

  auto zoned = ZonedMemory::Create({zone});

  ASSERT_FALSE(zoned.has_value());
  EXPECT_TRUE(zoned.status().message().starts_with("memory zone m0: bind to host NUMA node 1000: "))
      << zoned.status().message();
}

TEST(ZonedMemory, BindsToANodeBeforeItPrefaults) {
  if (!std::filesystem::exists("/sys/devices/system/node/node0"))
    GTEST_SKIP() << "this host has no NUMA nodes";
  MemoryZoneConfig zone = Zone("m0", MiB(4));
  zone.host_numa_node = 0;
  zone.prefault = true;

  auto zoned = ZonedMemory::Create({zone});

  ASSERT_TRUE(zoned.has_value()) << zoned.error().ToString();
  char address[32];
  std::snprintf(address, sizeof address, "%lx ",
                reinterpret_cast<unsigned long>((*zoned)->memory().regions()[0].host));
  std::ifstream maps("/proc/self/numa_maps");
  std::string found;
  for (std::string line; std::getline(maps, line);) {
    if (line.starts_with(address)) found = line;
  }
  EXPECT_NE(found.find("bind"), std::string::npos) << found;
  EXPECT_NE(found.find("N0="), std::string::npos) << found;
}

TEST(ZonedMemory, RoomForGrowthTakesNothingAndIsNotRamUntilItIsPlugged) {
  MemoryZoneConfig zone = Zone("a", MiB(2));
  zone.prefault = true;
  zone.hotplug_size = MiB(256);
  auto zoned = *ZonedMemory::Create({zone, Zone("b", MiB(2))}, HotplugMethod::kVirtioMem);
  const GuestMemory& memory = zoned->memory();

  ASSERT_EQ(memory.regions().size(), 2u);
  ASSERT_EQ(memory.hotplug_areas().size(), 1u);
  const MemoryRegion& area = memory.hotplug_areas()[0];
  EXPECT_EQ(Raw(area.base), uint64_t{4} << 30);
  EXPECT_EQ(area.plug->block(), 2u << 20);
  EXPECT_EQ(Smaps(area.host, "Rss"), 0u);
  EXPECT_FALSE(memory.WriteObject<uint32_t>(area.base, 1).ok());

  const MemoryRegion part = area.Part(4 << 20, 4 << 20);
  ASSERT_TRUE(PopulatePlugged(part).ok());
  area.plug->Set(4 << 20, 4 << 20, true);
  EXPECT_EQ(Smaps(area.host, "Rss"), 4096u);
  EXPECT_TRUE(memory.WriteObject<uint32_t>(part.base, 7).ok());
  EXPECT_FALSE(memory.WriteObject<uint32_t>(part.base + (4 << 20), 7).ok());
  EXPECT_EQ(memory.PresentRuns().size(), 3u);
  EXPECT_EQ(Raw(memory.PresentRuns()[2].base), Raw(part.base));

  area.plug->Set(4 << 20, 4 << 20, false);
  ASSERT_TRUE(DiscardPages(part).ok());
  EXPECT_EQ(Smaps(area.host, "Rss"), 0u);
  EXPECT_FALSE(memory.ReadObject<uint32_t>(part.base).has_value());
}

TEST(ZonedMemory, GivesMemoryBackWhateverItsBacking) {
  for (bool shared : {false, true}) {
    MemoryZoneConfig zone = Zone("a", MiB(4));
    zone.shared = shared;
    auto zoned = *ZonedMemory::Create({zone});
    ASSERT_TRUE(zoned->memory().WriteObject<uint32_t>(Gpa{2 << 20}, 7).ok());

    ASSERT_TRUE(DiscardPages(zoned->memory().regions()[0].Part(2 << 20, 2 << 20)).ok());

    EXPECT_EQ(*zoned->memory().ReadObject<uint32_t>(Gpa{2 << 20}), 0u) << shared;
  }
}

TEST(ZonedMemory, AFileHasRoomForGrowthBehindTheZone) {
  std::string path = testing::TempDir() + "zone_growing_file";
  MemoryZoneConfig zone = Zone("file", MiB(2));
  zone.file = path;
  zone.shared = true;
  zone.hotplug_size = MiB(128);
  {
    auto zoned = *ZonedMemory::Create({zone}, HotplugMethod::kVirtioMem);
    const MemoryRegion& area = zoned->memory().hotplug_areas()[0];
    EXPECT_EQ(area.fd_offset, 2u << 20);
    area.plug->Set(0, 2 << 20, true);
    ASSERT_TRUE(zoned->memory().WriteObject<uint32_t>(area.base, 0x64636261).ok());
  }
  EXPECT_EQ(std::filesystem::file_size(path), 130u << 20);
  EXPECT_EQ(ReadFile(path, 256 << 20)->substr(2 << 20, 4), "abcd");
  std::filesystem::remove(path);
}

TEST_F(ZoneFileTest, HasRoomForWhatIsPluggedBeforeTheGuestTouchesIt) {
  zone_.hotplug_size = MiB(128);
  auto zoned = *ZonedMemory::Create({zone_}, HotplugMethod::kVirtioMem);
  const MemoryRegion part = zoned->memory().hotplug_areas()[0].Part(4 << 20, 2 << 20);
  struct stat before{}, after{};
  ASSERT_EQ(::fstat(part.fd, &before), 0);

  ASSERT_EQ(PopulatePlugged(part), OkStatus());

  ASSERT_EQ(::fstat(part.fd, &after), 0);
  EXPECT_GE(before.st_blocks, (1 << 20) / 512);
  EXPECT_GE(after.st_blocks - before.st_blocks, (2 << 20) / 512);
  EXPECT_EQ(Smaps(part.host, "Rss"), 0u);
  EXPECT_TRUE(part.keeps_pages());
}

// QEMU and Cloud Hypervisor take them once, too.
TEST_F(ZoneFileTest, OfHugePagesIsNotFilledBesideItsPrivateCopies) {
  constexpr uint64_t kHuge = 2 << 20;
  for (bool shared : {false, true}) {
    zone_.shared = shared;
    EXPECT_EQ(OpenZoneBacking(zone_, kHuge)->reserve_space, shared);
    struct statfs file_system{};
    ASSERT_EQ(::statfs(path_.c_str(), &file_system), 0);
    EXPECT_EQ(OpenZoneBacking(zone_, 4096)->reserve_space, shared || file_system.f_type == TMPFS_MAGIC)
        << "who only reads a hole needs no room, but for a page of a tmpfs";
  }
}

// They may be the only copy of a guest that is restored, or of one that has ended.
TEST_F(ZoneFileTest, KeepsItsBytesWhenItCannotBeFilled) {
  Make(4096);
  const UniqueFd file(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  void* host = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(host, MAP_FAILED);
  MemoryRegion region;
  region.size = 8192;  // which the file does not have
  region.host = static_cast<uint8_t*>(host);
  region.fd = file.get();
  region.shared = region.prefault = true;

  EXPECT_FALSE(FillRegion(zone_, region).ok());

  EXPECT_EQ(ReadFile(path_)->substr(0, 3), "abc");
  ::munmap(host, 8192);
}

TEST(ZonedMemory, AdvisesMergingAndAgainstTransparentHugePages) {
  MemoryZoneConfig zone = Zone("a", MiB(4));
  zone.thp = false;
  MemoryZoneConfig merged = Zone("b", MiB(4));
  merged.mergeable = true;
  auto zoned = *ZonedMemory::Create({zone, merged});

  auto flags = [&](size_t region) {
    std::ifstream maps("/proc/self/smaps");
    const auto address = reinterpret_cast<uintptr_t>(zoned->memory().regions()[region].host);
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
      unsigned long begin = 0, end = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
        inside = address >= begin && address < end;
      if (inside && line.starts_with("VmFlags:")) return line + " ";
    }
    return std::string();
  };
  EXPECT_NE(flags(0).find(" dd "), std::string::npos) << flags(0);  // not in core dumps
  if (std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    EXPECT_NE(flags(0).find(" nh "), std::string::npos) << flags(0);
  }
  if (std::filesystem::exists("/sys/kernel/mm/ksm")) {
    EXPECT_NE(flags(1).find(" mg "), std::string::npos) << flags(1);
  }
}

TEST(ZonedMemory, SaysNoBeforeHugePagesAreMissed) {
  HugePages pages;
  auto size = pages.DefaultSize();
  if (!size.has_value()) GTEST_SKIP() << "this host has no huge pages";
  auto free = pages.FreePages(*size, std::nullopt);
  if (!free.has_value()) GTEST_SKIP() << free.error().ToString();
  MemoryZoneConfig zone = Zone("m0", ByteSize((*free + 1) * *size));
  zone.hugepages = true;

  EXPECT_EQ(ZonedMemory::Create({zone}).status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace berth::vmm
