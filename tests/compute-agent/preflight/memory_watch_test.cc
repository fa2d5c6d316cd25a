#include "compute-agent/preflight/memory_watch.h"

#include <gtest/gtest.h>

#include "compute-agent/inventory/available_memory.h"
#include "compute-agent/inventory/discover.h"
#include "tests/fakes/fake_sysfs.h"

namespace berth::agent {
namespace {

constexpr uint64_t kMi = uint64_t{1} << 20;

TEST(MemoryWatch, NonSecureMemoryRunningLowIsToldOnceWithWhatToKeepFree) {
  MemoryWatch watch(256 * kMi);
  EXPECT_TRUE(watch.Look({{0, 300 * kMi}, {1, 4096 * kMi}}).empty());

  std::vector<MemoryWatch::Event> events = watch.Look({{0, 250 * kMi}, {1, 4096 * kMi}});

  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].node, 0u);
  EXPECT_TRUE(events[0].low);
  EXPECT_EQ(events[0].available_bytes, 250 * kMi);
  EXPECT_EQ(events[0].recommended_bytes, 64 * kMi);  // 6 MiB are missing, in steps of 64 MiB
  EXPECT_TRUE(watch.Look({{0, 250 * kMi}}).empty());
  EXPECT_EQ(watch.Warnings(),
            std::vector<std::string>{
                "node 0: ordinary memory is running low (below 256 MiB), the kernel may end VMMs; keep at "
                "least 64 MiB more of it free (reserved_memory, confidential.secure_memory), or move guests "
                "away"});
}

TEST(MemoryWatch, ALowerMarkIsANewEventOnlyWhenMoreIsRecommended) {
  MemoryWatch watch(256 * kMi);
  watch.Look({{0, 250 * kMi}});
  EXPECT_TRUE(watch.Look({{0, 200 * kMi}}).empty());
  EXPECT_TRUE(watch.Look({{0, 255 * kMi}}).empty());
  std::vector<MemoryWatch::Event> events = watch.Look({{0, 10 * kMi}});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].recommended_bytes, 256 * kMi);
}

TEST(MemoryWatch, ItIsWellAgainAtOneAndAHalfTimesTheHeadroom) {
  MemoryWatch watch(256 * kMi);
  watch.Look({{0, 0}, {1, 0}});
  EXPECT_EQ(watch.low().size(), 2u);
  EXPECT_TRUE(watch.Look({{0, 300 * kMi}}).empty());
  std::vector<MemoryWatch::Event> events = watch.Look({{0, 384 * kMi}});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_FALSE(events[0].low);
  EXPECT_FALSE(watch.low().contains(0));
  EXPECT_TRUE(watch.low().contains(1));  // not told: as before
}

TEST(MemoryWatch, WithoutHeadroomNothingIsLow) {
  MemoryWatch watch(0);
  EXPECT_TRUE(watch.Look({{0, 0}}).empty());
}

TEST(AvailableMemory, IsWhatIsFreeAndWhatFilesHold) {
  fakes::FakeSysfs host;
  host.Node(0).Cpus("0-1").Memory(GiB(4));
  host.Node(1).Cpus("2-3").Memory(GiB(4));
  host.File("sys/devices/system/node/node1/meminfo",
            "Node 1 MemTotal:       4194304 kB\nNode 1 MemFree:        1024 kB\n"
            "Node 1 Active(file):   2048 kB\nNode 1 Inactive(file): 4096 kB\nNode 1 SReclaimable:  8 kB\n");
  const Root root = host.Open();

  const std::map<placement::NumaNode, uint64_t> available = ReadAvailableMemory(root);

  EXPECT_EQ(available, (std::map<placement::NumaNode, uint64_t>{{0, GiB(4).bytes()}, {1, 7176 << 10}}));
  EXPECT_EQ(Discover(root).numa_nodes[1].memory_available_bytes, available.at(1));
}

TEST(AvailableMemory, NeverMoreThanThereIsAndWhatIsUnreadableIsLeftOut) {
  fakes::FakeSysfs host;
  host.Node(0).Cpus("0-1").Memory(GiB(4));
  host.Node(1).Cpus("2-3").Memory(GiB(4));
  host.File("sys/devices/system/node/node0/meminfo",
            "Node 0 MemTotal: 1024 kB\nNode 0 MemFree: 1000 kB\nNode 0 Active(file): 18014398509481983 kB\n"
            "Node 0 Inactive(file): 18014398509481983 kB\n");
  host.File("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: much\n");

  EXPECT_EQ(ReadAvailableMemory(host.Open()),
            (std::map<placement::NumaNode, uint64_t>{{0, uint64_t{1} << 20}}));
}

TEST(AvailableMemory, AMachineWithoutNodesIsNodeZero) {
  fakes::FakeSysfs host;
  host.File("proc/meminfo", "MemTotal: 2048 kB\nMemFree: 1024 kB\n");
  EXPECT_EQ(ReadAvailableMemory(host.Open()),
            (std::map<placement::NumaNode, uint64_t>{{0, uint64_t{1} << 20}}));
}

}  // namespace
}  // namespace berth::agent
