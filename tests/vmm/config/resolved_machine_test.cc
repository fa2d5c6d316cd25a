#include "vmm/config/resolved_machine.h"

#include <gtest/gtest.h>

#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

MemoryZoneConfig Zone(std::string id, ByteSize size) {
  MemoryZoneConfig zone;
  zone.id = std::move(id);
  zone.size = size;
  return zone;
}

VmConfig ThreeNodes() {
  VmConfig config;
  config.kernel = "k";
  config.cpus.boot = 3;
  config.memory.size = ByteSize();
  config.memory_zones = {Zone("a", GiB(1)), Zone("b", GiB(3)), Zone("c", GiB(1))};
  config.memory_zones[1].host_numa_node = 1;
  config.numa = {{4, {2}, {}, {"c"}}, {0, {0}, {{2, 15}}, {"a"}}, {2, {1}, {{4, 30}}, {"b"}}};
  return config;
}

TEST(ResolvedMachine, AZoneThatReachesTheHoleIsSplitThere) {
  VmConfig config = ThreeNodes();
  ASSERT_TRUE(ValidateConfig(config).empty());

  ResolvedMachine machine = ResolveMachine(config);

  ASSERT_EQ(machine.regions.size(), 4u);
  EXPECT_EQ(machine.regions[0].base, 0u);
  EXPECT_EQ(machine.regions[0].size, 1ull << 30);
  EXPECT_EQ(machine.regions[0].guest_numa_id, 0u);
  EXPECT_EQ(machine.regions[1].base, 1ull << 30);
  EXPECT_EQ(machine.regions[1].size, 2ull << 30);
  EXPECT_EQ(machine.regions[1].host_numa_node, 1u);
  EXPECT_EQ(machine.regions[2].zone, "b");
  EXPECT_EQ(machine.regions[2].base, 4ull << 30);
  EXPECT_EQ(machine.regions[2].size, 1ull << 30);
  EXPECT_EQ(machine.regions[3].zone, "c");
  EXPECT_EQ(machine.regions[3].base, 5ull << 30);
  EXPECT_EQ(machine.regions[3].guest_numa_id, 4u);
}

TEST(ResolvedMachine, AZoneThatEndsAtTheHoleIsNotSplit) {
  VmConfig config;
  config.memory.size = ByteSize();
  config.memory_zones = {Zone("a", GiB(3)), Zone("b", GiB(1))};

  ResolvedMachine machine = ResolveMachine(config);

  ASSERT_EQ(machine.regions.size(), 2u);
  EXPECT_EQ(machine.regions[1].base, 4ull << 30);
}

TEST(ResolvedMachine, NodesAreSortedWithFullRowsOfDistances) {
  ResolvedMachine machine = ResolveMachine(ThreeNodes());

  ASSERT_EQ(machine.nodes.size(), 3u);
  EXPECT_EQ(machine.nodes[1].guest_numa_id, 2u);
  EXPECT_EQ(machine.nodes[1].proximity_domain, 1u);
  EXPECT_EQ(machine.nodes[0].distances, (std::vector<uint8_t>{10, 15, 20}));
  EXPECT_EQ(machine.nodes[1].distances, (std::vector<uint8_t>{15, 10, 30}));
  EXPECT_EQ(machine.nodes[2].distances, (std::vector<uint8_t>{20, 30, 10}));
  EXPECT_EQ(machine.pci_node, 0u);
}

TEST(ResolvedMachine, RamWithoutANodeGoesToThePciBussNode) {
  VmConfig config;
  config.cpus.boot = 2;
  config.numa = {{3, {0}, {}, {}}, {1, {1}, {}, {}}};

  ResolvedMachine machine = ResolveMachine(config);

  EXPECT_EQ(machine.pci_node, 1u);
  EXPECT_EQ(machine.nodes[0].zones, (std::vector<std::string>{"mem0"}));
  EXPECT_EQ(machine.regions[0].guest_numa_id, 1u);
}

TEST(ResolvedMachine, IsDescribedForPeople) {
  VmConfig config = ThreeNodes();
  config.cpus.affinity[1] = {4, 5};

  EXPECT_EQ(DescribeMachine(config),
            "kernel      k\n"
            "vcpus       3 at boot, 3 at most\n"
            "  vcpu 1    on host CPUs 4-5\n"
            "zone a      1G, anonymous pages, on any host node\n"
            "  region    0x000000000000-0x00003fffffff, 1G, guest node 0\n"
            "zone b      3G, anonymous pages, bound to host node 1\n"
            "  region    0x000040000000-0x0000bfffffff, 2G, guest node 2\n"
            "  region    0x000100000000-0x00013fffffff, 1G, guest node 2\n"
            "zone c      1G, anonymous pages, on any host node\n"
            "  region    0x000140000000-0x00017fffffff, 1G, guest node 4\n"
            "node 0      vcpus 0, zones a, distances 10 15 20, domain 0, PCI segment 0\n"
            "node 2      vcpus 1, zones b, distances 15 10 30, domain 1\n"
            "node 4      vcpus 2, zones c, distances 20 30 10, domain 2\n"
            "rng         /dev/urandom\n"
            "serial      tty\n");
}

TEST(ResolvedMachine, IsDescribedForPrograms) {
  std::string json = DescribeMachineJson(ThreeNodes());

  EXPECT_NE(
      json.find(R"({"zone":"b","base":4294967296,"size":1073741824,"guest_numa_id":2,"host_numa_node":1})"),
      std::string::npos)
      << json;
  EXPECT_NE(json.find(R"({"guest_numa_id":2,"proximity_domain":1,"vcpus":"1","memory_zones":["b"],)"
                      R"("sgx_epc_sections":[],"device":null,)"
                      R"("distances":[15,10,30]})"),
            std::string::npos)
      << json;
}

TEST(ResolvedMachine, HotplugAreasFollowRamAndBelongToTheirZonesNode) {
  VmConfig config = ThreeNodes();
  config.memory.hotplug_method = HotplugMethod::kVirtioMem;
  config.memory_zones[1].hotplug_size = GiB(2);
  config.memory_zones[1].hotplugged_size = MiB(128);
  ASSERT_TRUE(ValidateConfig(config).empty());

  ResolvedMachine machine = ResolveMachine(config);

  ASSERT_EQ(machine.hotplug.size(), 1u);
  EXPECT_EQ(machine.hotplug[0].area.base, 6ull << 30);
  EXPECT_EQ(machine.hotplug[0].area.plugged, 128u << 20);
  EXPECT_EQ(machine.hotplug[0].guest_numa_id, 2u);
  EXPECT_EQ(machine.hotplug[0].host_numa_node, 1u);
  EXPECT_NE(DescribeMachine(config).find("2G by virtio-mem in pieces of 2M, 128M at boot, guest node 2"),
            std::string::npos)
      << DescribeMachine(config);
}

TEST(ResolvedMachine, WholeHugePagesLieBelowTheHole) {
  VmConfig config;
  config.memory.size = ByteSize();
  config.memory_zones = {Zone("a", MiB(512)), Zone("b", GiB(3))};
  config.memory_zones[1].hugepages = true;
  config.memory_zones[1].hugepage_size = GiB(1);

  ResolvedMachine machine = ResolveMachine(config);

  ASSERT_EQ(machine.regions.size(), 3u);
  EXPECT_EQ(machine.regions[1].size, 2ull << 30);
  EXPECT_EQ(machine.regions[2].base, 4ull << 30);
  EXPECT_EQ(machine.regions[2].size, 1ull << 30);
}

TEST(ResolvedMachine, HotplugGoesByTheHostsHugePageOrSaysThatItMay) {
  VmConfig config;
  config.memory.size = GiB(1);
  config.memory.hugepages = true;
  config.memory.hotplug_method = HotplugMethod::kVirtioMem;
  config.memory.hotplug_size = GiB(2);

  EXPECT_NE(DescribeMachine(config).find("in pieces of 2M (or of the host's huge page), 0 at boot"),
            std::string::npos)
      << DescribeMachine(config);
  EXPECT_NE(DescribeMachineJson(config).find(R"("block_size_assumed":true)"), std::string::npos);
  EXPECT_NE(DescribeMachine(config, GiB(1).bytes()).find("in pieces of 1G, 0 at boot"), std::string::npos);
}

TEST(ResolvedMachine, ShowsWhatIsNotAsItIsByDefault) {
  VmConfig config = ThreeNodes();
  config.memory_zones[0].reserve = false;
  config.memory_zones[1].thp = false;
  config.disks.emplace_back();
  config.disks[0].path = "/d";
  config.disks[0].id = "disk0";
  config.nets.emplace_back();
  config.nets[0].tap = "t";
  config.nets[0].id = "net0";
  const std::string plain = DescribeMachine(config);
  EXPECT_NE(plain.find("disk disk0  /d\n"), std::string::npos) << plain;
  EXPECT_NE(plain.find("net net0    tap t\n"), std::string::npos) << plain;
  config.disks[0].num_queues = 4;
  config.disks[0].queue_size = 512;
  config.disks[0].limits = {{1000, 5, 100}, {10, 0, 1}};
  config.nets[0].mtu = 1400;
  config.nets[0].queue_size = 1024;
  config.nets[0].limits.bandwidth = {2000, 0, 50};

  const std::string text = DescribeMachine(config);

  for (const char* row :
       {"zone a      1G, anonymous pages, not reserved, on any host node\n",
        "zone b      3G, anonymous pages, without transparent huge pages, bound to host node 1\n",
        "disk disk0  /d, 4 queues, queues of 512, at most 1000 bytes in 100 ms (and 5 once), "
        "at most 10 operations in 1 ms\n",
        "net net0    tap t, MTU 1400, queues of 1024, at most 2000 bytes in 50 ms\n"}) {
    EXPECT_NE(text.find(row), std::string::npos) << row << text;
  }
  const std::string json = DescribeMachineJson(config);
  for (const char* part : {R"("num_queues":4,"queue_size":512)", R"("mtu":1400)", R"("reserve":false)",
                           R"("thp":)", R"("bandwidth":{"size":2000,"one_time_burst":0,"refill_time":50})"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << json;
  }
}

TEST(ResolvedMachine, ShowsSectionsOfNodesAndWhatZonesAreMappedFrom) {
  VmConfig config = ThreeNodes();
  config.sgx_epc = {{"e0", MiB(32), false}, {"e1", MiB(32), false}};
  config.numa[0].sgx_epc_sections = {"e0", "e1"};
  config.memory_zones[0].file = "/nonexistent/file";
  config.memory_zones[1].host_numa_node.reset();
  config.memory_zones[1].file = testing::TempDir();
  config.memory_zones[2].shared = true;

  const std::string text = DescribeMachine(config);
  for (const char* row : {"zone a      1G, file /nonexistent/file, private, on any host node\n",
                          "zone c      1G, anonymous pages, shared, on any host node\n",
                          "node 4      vcpus 2, zones c, sgx e0 e1, distances"}) {
    EXPECT_NE(text.find(row), std::string::npos) << row << text;
  }
  EXPECT_NE(text.find("3G, a file in directory " + testing::TempDir() + ", shared, on"), std::string::npos)
      << text;
  const std::string json = DescribeMachineJson(config);
  for (const char* part :
       {R"("file":"/nonexistent/file","backing":"file","mapped_shared":false)",
        R"("backing":"directory","mapped_shared":true)", R"("backing":"memfd","mapped_shared":true)",
        R"("sgx_epc_sections":["e0","e1"],"device":null)"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << json;
  }
}

TEST(ResolvedMachine, SegmentsBelongToTheirNodeElseToTheFirst) {
  VmConfig config = ThreeNodes();
  config.platform.num_pci_segments = 3;
  config.numa[0].pci_segments = {2};  // node 4
  ASSERT_TRUE(ValidateConfig(config).empty());

  ResolvedMachine machine = ResolveMachine(config);

  ASSERT_EQ(machine.segments.size(), 3u);
  EXPECT_EQ(machine.segments[0].guest_numa_id, 0u);
  EXPECT_EQ(machine.segments[1].guest_numa_id, 0u);
  EXPECT_EQ(machine.segments[2].guest_numa_id, 4u);
}

}  // namespace
}  // namespace berth::vmm
