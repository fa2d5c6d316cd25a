// The examples and rules of Cloud Hypervisor's memory document, section by section, as a user would type
// them.
#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

using Arguments = std::vector<std::string>;

VmConfig Accepted(Arguments arguments) {
  arguments.insert(arguments.begin(), {"--kernel", "vmlinuz"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_TRUE(line.has_value()) << ToText(line.error());
  return line.has_value() ? line->config : VmConfig();
}

// The option and the key of each error.
std::vector<std::string> Refused(Arguments arguments) {
  arguments.insert(arguments.begin(), {"--kernel", "vmlinuz"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_FALSE(line.has_value());
  std::vector<std::string> places;
  if (line.has_value()) return places;
  for (const ConfigError& error : line.error()) places.push_back(error.option + " " + error.key);
  return places;
}

using Places = std::vector<std::string>;

// ---- Basic Parameters

TEST(MemoryDocument, SizeIsMandatoryInTheOptionAndHasADefaultWithoutIt) {
  EXPECT_EQ(Accepted({}).memory.size, MiB(512));
  EXPECT_EQ(Accepted({"--memory", "size=1G"}).memory.size, GiB(1));
  EXPECT_EQ(Refused({"--memory", "mergeable=on"}), Places{"memory size"});
  EXPECT_EQ(Refused({"--memory", "size="}), Places{"memory size"});
  EXPECT_EQ(Refused({"--memory", "size=1X"}), Places{"memory size"});
}

TEST(MemoryDocument, MergeableIsOffUnlessAskedFor) {
  EXPECT_FALSE(Accepted({"--memory", "size=1G"}).memory.mergeable);
  EXPECT_TRUE(Accepted({"--memory", "size=1G,mergeable=on"}).memory.mergeable);
  EXPECT_TRUE(Accepted({"--memory", "size=1G,mergeable=true"}).memory.mergeable);
}

TEST(MemoryDocument, TheHotplugMethodIsAcpiOrVirtioMem) {
  EXPECT_EQ(Accepted({"--memory", "size=1G"}).memory.hotplug_method, HotplugMethod::kAcpi);
  EXPECT_EQ(Accepted({"--memory", "size=1G,hotplug_method=acpi"}).memory.hotplug_method,
            HotplugMethod::kAcpi);
  EXPECT_EQ(Accepted({"--memory", "size=1G,hotplug_method=virtio-mem"}).memory.hotplug_method,
            HotplugMethod::kVirtioMem);
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_method=balloon"}), Places{"memory hotplug_method"});
}

TEST(MemoryDocument, AHotplugSizeOfZeroIsInvalid) {
  EXPECT_EQ(Accepted({"--memory", "size=1G,hotplug_size=1G"}).memory.hotplug_size, GiB(1));
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_size=0"}), Places{"memory hotplug_size"});
}

TEST(MemoryDocument, WhatIsPluggedAtBootNeedsVirtioMemAndRoomForIt) {
  const VmConfig config =
      Accepted({"--memory", "size=1G,hotplug_method=virtio-mem,hotplug_size=1G,hotplugged_size=512M"});
  EXPECT_EQ(config.memory.hotplugged_size, MiB(512));
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_size=1G,hotplugged_size=512M"}),
            Places{"memory hotplugged_size"});
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_method=virtio-mem,hotplugged_size=512M"}),
            Places{"memory hotplugged_size"});
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_method=virtio-mem,hotplug_size=1G,hotplugged_size=2G"}),
            Places{"memory hotplugged_size"});
  EXPECT_EQ(Refused({"--memory", "size=1G,hotplug_method=virtio-mem,hotplug_size=1G,hotplugged_size=0"}),
            Places{"memory hotplugged_size"});
}

TEST(MemoryDocument, SharedHugePagesAndPrefaultAreOffUnlessAskedFor) {
  const MemoryConfig none = Accepted({"--memory", "size=1G"}).memory;
  EXPECT_FALSE(none.shared || none.hugepages || none.prefault || none.hugepage_size);
  EXPECT_TRUE(Accepted({"--memory", "size=1G,shared=on"}).memory.shared);
  const MemoryConfig huge = Accepted({"--memory", "size=1G,hugepages=on,hugepage_size=2M"}).memory;
  EXPECT_TRUE(huge.hugepages);
  EXPECT_EQ(huge.hugepage_size, MiB(2));
  EXPECT_TRUE(
      Accepted({"--memory", "size=1G,hugepages=on"}).memory.hugepages);  // of the system's default size
  EXPECT_TRUE(Accepted({"--memory", "size=1G,prefault=on"}).memory.prefault);
}

// ---- Advanced Parameters

TEST(MemoryDocument, ZonesNeedAMemorySizeOfZeroAnIdAndASize) {
  const VmConfig config = Accepted({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G"});
  ASSERT_EQ(config.memory_zones.size(), 1u);
  EXPECT_EQ(config.memory_zones[0].id, "mem0");
  EXPECT_EQ(config.memory_zones[0].size, GiB(1));
  EXPECT_EQ(Refused({"--memory", "size=1G", "--memory-zone", "id=mem0,size=1G"}), Places{"memory size"});
  EXPECT_EQ(Refused({"--memory", "size=0", "--memory-zone", "size=1G"}), Places{"memory-zone[0] id"});
  EXPECT_EQ(Refused({"--memory", "size=0", "--memory-zone", "id=mem0"}), Places{"memory-zone[0] size"});
  EXPECT_EQ(Refused({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G", "id=mem0,size=1G"}),
            Places{"memory-zone[1] id"});
}

TEST(MemoryDocument, EveryKeyOfAZone) {
  const auto zone = [](const std::string& keys, const std::string& memory = "size=0") {
    const VmConfig config = Accepted({"--memory", memory, "--memory-zone", "id=mem0,size=1G" + keys});
    return config.memory_zones.empty() ? MemoryZoneConfig() : config.memory_zones[0];
  };
  EXPECT_EQ(zone(",file=/foo/bar").file, "/foo/bar");
  EXPECT_TRUE(zone(",shared=on").shared);
  EXPECT_FALSE(zone("").shared);
  EXPECT_TRUE(zone(",hugepages=on,hugepage_size=2M").hugepages);
  EXPECT_EQ(zone(",hugepages=on,hugepage_size=2M").hugepage_size, MiB(2));
  EXPECT_EQ(zone(",host_numa_node=0").host_numa_node, 0u);
  EXPECT_EQ(zone(",hotplug_size=1G", "size=0,hotplug_method=virtio-mem").hotplug_size, GiB(1));
  EXPECT_EQ(zone(",hotplug_size=1G,hotplugged_size=512M", "size=0,hotplug_method=virtio-mem").hotplugged_size,
            MiB(512));
  EXPECT_TRUE(zone(",prefault=on").prefault);
}

TEST(MemoryDocument, AZoneGrowsOnlyByVirtioMem) {
  const auto refused = [](const std::string& memory, const std::string& keys) {
    return Refused({"--memory", memory, "--memory-zone", "id=mem0,size=1G," + keys});
  };
  EXPECT_EQ(refused("size=0", "hotplug_size=1G"), Places{"memory-zone[0] hotplug_size"});
  EXPECT_EQ(refused("size=0,hotplug_method=virtio-mem", "hotplug_size=0"),
            Places{"memory-zone[0] hotplug_size"});
  EXPECT_EQ(refused("size=0,hotplug_method=virtio-mem", "hotplugged_size=512M"),
            Places{"memory-zone[0] hotplugged_size"});
  EXPECT_EQ(refused("size=0,hotplug_method=virtio-mem", "hotplug_size=512M,hotplugged_size=1G"),
            Places{"memory-zone[0] hotplugged_size"});
}

// ---- NUMA settings

TEST(MemoryDocument, ANodeHasAnIdOfItsOwn) {
  EXPECT_EQ(Accepted({"--numa", "guest_numa_id=0"}).numa.at(0).guest_numa_id, 0u);
  EXPECT_EQ(Refused({"--numa", "cpus=0"}), Places{"numa[0] guest_numa_id"});
  EXPECT_EQ(Refused({"--cpus", "boot=2", "--numa", "guest_numa_id=0,cpus=0", "guest_numa_id=0,cpus=1"}),
            Places{"numa[1] guest_numa_id"});
}

TEST(MemoryDocument, CpuListsAreRangesAndNumbers) {
  const auto cpus = [](const std::string& boot, const std::string& list) {
    const VmConfig config = Accepted({"--cpus", "boot=" + boot, "--numa", "guest_numa_id=0,cpus=" + list});
    return config.numa.empty() ? CpuSet() : config.numa[0].cpus;
  };
  EXPECT_EQ(cpus("5", "0-4"), (CpuSet{0, 1, 2, 3, 4}));
  EXPECT_EQ(cpus("5", "[0,1,2,3,4]"), (CpuSet{0, 1, 2, 3, 4}));
  const VmConfig two = Accepted(
      {"--cpus", "boot=8", "--numa", "guest_numa_id=0,cpus=[1-3,7]", "guest_numa_id=1,cpus=[0,4-6]"});
  EXPECT_EQ(two.numa.at(0).cpus, (CpuSet{1, 2, 3, 7}));
  EXPECT_EQ(two.numa.at(1).cpus, (CpuSet{0, 4, 5, 6}));
  // "[0-99,255]" is a list; a guest has no vCPU 255 without interrupt remapping for its own APIC ids.
  EXPECT_EQ(Refused({"--cpus", "boot=100", "--numa", "guest_numa_id=0,cpus=[0-99,255]"}),
            Places{"numa[0] cpus"});
}

TEST(MemoryDocument, DistancesAsGiven) {
  const Arguments example = {"--numa", "guest_numa_id=0,distances=[1@15,2@25]",
                             "guest_numa_id=1,distances=[0@15,2@20]",
                             "guest_numa_id=2,distances=[0@25,1@20]"};
  const ResolvedMachine machine = ResolveMachine(Accepted(example));
  ASSERT_EQ(machine.nodes.size(), 3u);
  EXPECT_EQ(machine.nodes[0].distances, (std::vector<uint8_t>{10, 15, 25}));
  EXPECT_EQ(machine.nodes[1].distances, (std::vector<uint8_t>{15, 10, 20}));
  EXPECT_EQ(machine.nodes[2].distances, (std::vector<uint8_t>{25, 20, 10}));
}

TEST(MemoryDocument, ZonesBelongToOneNodeEach) {
  const VmConfig config = Accepted(
      {"--memory", "size=0", "--memory-zone", "id=mem0,size=1G", "id=mem1,size=1G", "id=mem2,size=1G",
       "--numa", "guest_numa_id=0,memory_zones=[mem0,mem2]", "guest_numa_id=1,memory_zones=mem1"});
  const std::map<std::string, uint32_t> nodes = NodesOfZones(config);
  EXPECT_EQ(nodes, (std::map<std::string, uint32_t>{{"mem0", 0}, {"mem1", 1}, {"mem2", 0}}));
  EXPECT_EQ(Refused({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G", "--numa",
                     "guest_numa_id=0,memory_zones=mem0", "guest_numa_id=1,memory_zones=mem0"}),
            Places{"numa[1] memory_zones"});
}

TEST(MemoryDocument, EnclaveSectionsBelongToNodes) {
  const VmConfig config =
      Accepted({"--sgx-epc", "id=epc0,size=32M", "id=epc1,size=64M", "id=epc2,size=32M", "--numa",
                "guest_numa_id=0,sgx_epc_sections=epc1", "guest_numa_id=1,sgx_epc_sections=[epc0,epc2]"});
  ASSERT_EQ(config.sgx_epc.size(), 3u);
  EXPECT_EQ(config.numa.at(0).sgx_epc_sections, (std::vector<std::string>{"epc1"}));
  EXPECT_EQ(config.numa.at(1).sgx_epc_sections, (std::vector<std::string>{"epc0", "epc2"}));
  EXPECT_EQ(Refused({"--sgx-epc", "id=epc0,size=32M", "--numa", "guest_numa_id=0,sgx_epc_sections=none"}),
            Places{"numa[0] sgx_epc_sections"});
}

TEST(MemoryDocument, ThePciBusIsOnNodeZero) {
  const VmConfig config =
      Accepted({"--cpus", "boot=2", "--numa", "guest_numa_id=1,cpus=0", "guest_numa_id=0,cpus=1"});
  EXPECT_EQ(ResolveMachine(config).pci_node, 0u);
}

}  // namespace
}  // namespace berth::vmm
