#include "vmm/memory/huge_pages.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace berth::vmm {
namespace {

// A host in a directory: two nodes with 8 and 2 free pages of 2 MiB, one of which is promised.
class HugePagesTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        testing::TempDir() + "huge_pages_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    Put("proc/meminfo", "MemTotal: 100 kB\nHugepagesize:       2048 kB\n");
    Put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "10\n");
    Put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "1\n");
    PutNode(0, "8\n");
    PutNode(1, "2\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void PutNode(int node, const std::string& free) {
    std::string directory = "sys/devices/system/node/node" + std::to_string(node);
    Put(directory + "/meminfo", "x");
    Put(directory + "/hugepages/hugepages-2048kB/free_hugepages", free);
  }
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::path full = root_ + "/" + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }

  static MemoryZoneConfig Zone(const std::string& id, ByteSize size, std::optional<uint32_t> node = {}) {
    MemoryZoneConfig zone;
    zone.id = id;
    zone.size = size;
    zone.hugepages = true;
    zone.host_numa_node = node;
    return zone;
  }

  std::string root_;
};

TEST_F(HugePagesTest, CountsWhatIsFreeAndNotPromised) {
  HugePages pages(root_);

  EXPECT_EQ(*pages.DefaultSize(), 2u << 20);
  EXPECT_EQ(*pages.FreePages(2 << 20, std::nullopt), 9u);
  EXPECT_EQ(*pages.FreePages(2 << 20, 0), 8u);
  EXPECT_EQ(*pages.FreePages(2 << 20, 1), 2u);
}

TEST_F(HugePagesTest, NamesNodeSizeNeedAndHave) {
  Status status =
      HugePages(root_).Preflight({Zone("m0", MiB(8), 0), Zone("m1", MiB(4), 1), Zone("m2", MiB(2), 1)});

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "memory zones m1, m2 need 3 huge pages of 2M, host NUMA node 1 has 2 free");
}

TEST_F(HugePagesTest, AddsUpTheNodes) {
  EXPECT_TRUE(HugePages(root_).Preflight({Zone("m0", MiB(14), 0), Zone("m1", MiB(4), 1)}).ok());

  Status status = HugePages(root_).Preflight({Zone("m0", MiB(16), 0), Zone("m1", MiB(4), 1)});

  EXPECT_EQ(status.message(), "memory zones m0, m1 need 10 huge pages of 2M, the host has 9 free");
}

TEST_F(HugePagesTest, KnowsTheLimitsOfTheControlGroupAndItsAncestors) {
  Put("proc/self/cgroup", "0::/berth/vm1\n");
  Put("sys/fs/cgroup/berth/vm1/hugetlb.2MB.max", "max\n");
  Put("sys/fs/cgroup/berth/hugetlb.2MB.max", "8388608\n");
  Put("sys/fs/cgroup/berth/hugetlb.2MB.current", "2097152\n");

  EXPECT_EQ(*HugePages(root_).CgroupPages(2 << 20), 3u);
  EXPECT_EQ(HugePages(root_).Preflight({Zone("m0", MiB(8))}).message(),
            "memory zones m0 need 4 huge pages of 2M, the limit of this control group (hugetlb) has 3 free");
}

TEST_F(HugePagesTest, CountsWhatIsPluggedAtBoot) {
  MemoryZoneConfig zone = Zone("m1", MiB(2), 1);
  zone.hotplug_size = MiB(64);
  zone.hotplugged_size = MiB(4);

  EXPECT_EQ(HugePages(root_).Preflight({zone}).message(),
            "memory zones m1 need 3 huge pages of 2M, host NUMA node 1 has 2 free");
}

TEST_F(HugePagesTest, PrefaultsNoMoreThanTheControlGroupMayHave) {
  Put("proc/self/cgroup", "0::/berth/vm1\n");
  Put("sys/fs/cgroup/berth/vm1/memory.max", "8388608\n");
  Put("sys/fs/cgroup/berth/vm1/memory.current", "1048576\n");
  MemoryZoneConfig zone;
  zone.id = "m0";
  zone.size = MiB(8);
  EXPECT_TRUE(HugePages(root_).Preflight({zone}).ok());

  zone.prefault = true;
  EXPECT_EQ(HugePages(root_).Preflight({zone}).message(),
            "memory zones m0 prefault 8M, the limit of this control group (memory) leaves 7.00 MiB");
}

// Memory that is bound comes from nowhere else: beyond it there is only the OOM killer.
TEST_F(HugePagesTest, PrefaultsNoMoreThanTheNodeCanGive) {
  Put("sys/devices/system/node/node1/meminfo",
      "Node 1 MemTotal:  65536 kB\nNode 1 MemFree:  4096 kB\nNode 1 Active(anon):  1024 kB\n"
      "Node 1 Inactive(anon):  3072 kB\nNode 1 Active(file):  1024 kB\nNode 1 Inactive(file):  1024 kB\n"
      "Node 1 FilePages:  8192 kB\nNode 1 SReclaimable:  1024 kB\n");
  std::vector<MemoryZoneConfig> zones = {Zone("m0", MiB(4), 1), Zone("m1", MiB(4), 1), Zone("m2", MiB(64), 0),
                                         Zone("m3", MiB(64))};
  for (MemoryZoneConfig& zone : zones) zone.hugepages = false;
  for (size_t i : {0, 2, 3}) zones[i].prefault = true;
  EXPECT_EQ(HugePages(root_).NodeMemory(1), 7u << 20);
  EXPECT_EQ(HugePages(root_).NodeMemory(0), std::nullopt);
  EXPECT_EQ(HugePages(root_).Preflight(zones), OkStatus());  // m1 comes as it is touched

  zones[1].prefault = true;
  const Status status = HugePages(root_).Preflight(zones);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "memory zones m0, m1 prefault 8M, host NUMA node 1 has 7.00 MiB free or to be reclaimed");
  EXPECT_EQ(HugePages(root_).Missing(zones).size(), 2u);
  Put("proc/meminfo", "Hugepagesize:       2048 kB\nSwapFree:  2048 kB\n");
  EXPECT_EQ(HugePages(root_).Preflight(zones), OkStatus());
}

TEST_F(HugePagesTest, FindsEveryZoneThatIsShort) {
  Put("proc/self/cgroup", "0::/vm\n");
  Put("sys/fs/cgroup/vm/memory.max", "1048576\n");
  Put("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n");
  std::vector<MemoryZoneConfig> zones = {Zone("m0", MiB(2), 0), Zone("m1", MiB(6), 1), Zone("big", GiB(2)),
                                         Zone("plain", MiB(2))};
  zones[2].hugepage_size = GiB(1);
  zones[3].hugepages = false;
  zones[3].prefault = true;

  const std::vector<MemoryLack> lacks = HugePages(root_).Missing(zones);

  std::map<size_t, std::string> found;
  for (const MemoryLack& lack : lacks) found[lack.zone] = lack.status.message();
  EXPECT_EQ(lacks.size(), 3u);
  EXPECT_EQ(found[1], "memory zones m1 need 3 huge pages of 2M, host NUMA node 1 has 2 free");
  EXPECT_EQ(found[2], "memory zones big need 2 huge pages of 1G, the host has 1 free");
  EXPECT_EQ(found[3],
            "memory zones plain prefault 2M, the limit of this control group (memory) leaves 1.00 MiB");
}

TEST_F(HugePagesTest, CountsZonesWhoseFileIsOnAHugetlbfs) {
  MemoryZoneConfig zone = Zone("m0", MiB(6), 1);
  zone.hugepages = false;
  zone.file = "/dev/hugepages/vm";
  const HugePages pages(root_, [](const std::string& path) -> std::optional<uint64_t> {
    if (path == "/dev/hugepages/vm") return MiB(2).bytes();
    return std::nullopt;
  });

  EXPECT_EQ(*pages.PageSize(zone), 2u << 20);
  EXPECT_EQ(pages.Preflight({zone}).message(),
            "memory zones m0 need 3 huge pages of 2M, host NUMA node 1 has 2 free");
}

TEST_F(HugePagesTest, RefusesSizesAndNodesThatTheHostDoesNotHave) {
  MemoryZoneConfig big = Zone("m0", GiB(1));
  big.hugepage_size = GiB(1);

  EXPECT_EQ(HugePages(root_).Preflight({big}).message(), "this host has no huge pages of 1G");
  EXPECT_EQ(HugePages(root_).Preflight({Zone("m0", MiB(2), 9)}).message(), "this host has no NUMA node 9");
}

TEST_F(HugePagesTest, AsksNothingOfZonesWithOrdinaryPages) {
  MemoryZoneConfig zone;
  zone.size = GiB(64);
  EXPECT_TRUE(HugePages("/nonexistent").Preflight({zone}).ok());
}

}  // namespace
}  // namespace berth::vmm
