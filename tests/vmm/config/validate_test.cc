#include "vmm/config/validate.h"

#include <gtest/gtest.h>

#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

// Two nodes of 1 GiB and two vCPUs each; valid.
VmConfig TwoNodes() {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.cpus.boot = 4;
  config.memory.size = ByteSize();
  config.memory_zones.resize(2);
  config.memory_zones[0].id = "a";
  config.memory_zones[1].id = "b";
  for (MemoryZoneConfig& zone : config.memory_zones) zone.size = GiB(1);
  config.numa = {{0, {0, 1}, {}, {"a"}}, {1, {2, 3}, {}, {"b"}}};
  return config;
}

// "CODE option key=value" of each error, for one rule at a time.
std::vector<std::string> Errors(const VmConfig& config) {
  std::vector<std::string> list;
  for (const ConfigError& error : ValidateConfig(config))
    list.push_back(error.code + " " + error.option + " " + error.key + "=" + error.value);
  return list;
}

using List = std::vector<std::string>;

TEST(Validate, AcceptsTwoNodes) {
  EXPECT_EQ(Errors(TwoNodes()), List());
}

TEST(Validate, MaxVcpusMustNotBeLowerThanBoot) {
  VmConfig config = TwoNodes();
  config.cpus.max = 3;
  config.numa[1].cpus = {2};
  EXPECT_EQ(Errors(config), (List{"CpusMaxLowerThanBoot cpus max=3"}));
}

TEST(Validate, RefusesMoreVcpusThanApicIds) {
  VmConfig config = TwoNodes();
  config.numa.clear();
  config.cpus.boot = 255;
  EXPECT_EQ(Errors(config), (List{"TooManyCpus cpus boot=255"}));
}

TEST(Validate, AGuestNeedsACpu) {
  VmConfig config = TwoNodes();
  config.numa.clear();
  config.cpus.boot = 0;
  EXPECT_EQ(Errors(config), (List{"InvalidValue cpus boot=0"}));
}

TEST(Validate, AffinityNamesExistingVcpus) {
  VmConfig config = TwoNodes();
  config.cpus.affinity[4] = {0};
  EXPECT_EQ(Errors(config), (List{"InvalidVcpu cpus affinity=4@[0]"}));
}

TEST(Validate, SizeAndZonesExcludeEachOther) {
  VmConfig config = TwoNodes();
  config.memory.size = MiB(512);
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory size=512M"}));
}

TEST(Validate, MemoryKeysThatZonesWouldIgnoreAreRefused) {
  VmConfig config = TwoNodes();
  config.memory.shared = true;
  config.memory.prefault = true;
  EXPECT_EQ(Errors(config),
            (List{"InvalidMemoryParameters memory shared=on", "InvalidMemoryParameters memory prefault=on"}));
}

TEST(Validate, SizeZeroNeedsZones) {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.memory.size = ByteSize();
  EXPECT_EQ(Errors(config), (List{"MissingMemoryZones memory size=0"}));
}

TEST(Validate, HugePageRules) {
  VmConfig config = TwoNodes();
  config.memory_zones[0].hugepage_size = MiB(2);
  EXPECT_EQ(Errors(config), (List{"HugePageSizeWithoutHugePages memory-zone[0] hugepage_size=2M"}));

  config.memory_zones[0].hugepages = true;
  config.memory_zones[0].hugepage_size = MiB(3);
  EXPECT_EQ(Errors(config), (List{"InvalidHugePageSize memory-zone[0] hugepage_size=3M"}));

  config.memory_zones[0].hugepage_size = GiB(1);
  config.memory_zones[0].size = MiB(1536);
  EXPECT_EQ(Errors(config), (List{"MisalignedMemorySize memory-zone[0] size=1536M"}));
}

TEST(Validate, SizesAreMultiplesOfAPage) {
  VmConfig config = TwoNodes();
  config.memory_zones[1].size = ByteSize(4097);
  EXPECT_EQ(Errors(config), (List{"MisalignedMemorySize memory-zone[1] size=4097"}));
}

TEST(Validate, MergeablePagesAreNeitherSharedNorHuge) {
  VmConfig config = TwoNodes();
  config.memory_zones[0].mergeable = true;
  config.memory_zones[0].shared = true;
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory-zone[0] mergeable=on"}));
}

TEST(Validate, ASharedFileCannotBeBound) {
  VmConfig config = TwoNodes();
  config.memory_zones[0].file = "/f";
  config.memory_zones[0].shared = true;
  config.memory_zones[0].host_numa_node = 1;
  EXPECT_EQ(Errors(config), (List{"InvalidSharedMemoryZoneWithHostNuma memory-zone[0] host_numa_node=1"}));
}

TEST(Validate, AGuestNeedsMemoryBehindTheFirstMegabyte) {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.memory.size = KiB(2044);
  EXPECT_EQ(Errors(config), List{"InvalidMemoryParameters memory size=2044K"});
  EXPECT_EQ(ValidateConfig(config)[0].allowed, "2M or more");
  config.memory.size = MiB(2);
  EXPECT_EQ(Errors(config), List());
  config = TwoNodes();
  for (MemoryZoneConfig& zone : config.memory_zones) zone.size = KiB(512);
  EXPECT_EQ(Errors(config), List{"InvalidMemoryParameters memory-zone size=1M"});
}

TEST(Validate, MemoryThatADeviceReachesCannotBeMerged) {
  VmConfig config = TwoNodes();
  config.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "vf"}};
  config.memory_zones[1].mergeable = true;
  EXPECT_EQ(Errors(config), List{"MergeableWithDevice memory-zone[1] mergeable=on"});
  config.memory_zones.clear();
  config.numa.clear();
  config.memory.size = GiB(1);
  config.memory.mergeable = true;
  EXPECT_EQ(Errors(config), List{"MergeableWithDevice memory mergeable=on"});
}

TEST(Validate, TheSumOfTheZonesMustFit) {
  VmConfig config = TwoNodes();
  for (MemoryZoneConfig& zone : config.memory_zones) zone.size = ByteSize(UINT64_MAX & ~4095ull);
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory-zone size=more than 64 bits hold"}));
}

TEST(Validate, IdentifiersAreUniqueOverZonesAndDevices) {
  VmConfig config = TwoNodes();
  config.disks = {{"/x", false, false, "a"}, {"/y", false, false, "__z"}};
  EXPECT_EQ(Errors(config), (List{"IdentifierNotUnique disk[0] id=a", "InvalidIdentifier disk[1] id=__z"}));
}

TEST(Validate, NamesOfDevicesThatThereIsOneOfAreTaken) {
  VmConfig config = TwoNodes();
  config.rng = "/dev/urandom";
  config.balloon.emplace();
  config.pvpanic = true;
  config.console.mode = SerialConfig::Mode::kNull;
  const char* const ids[] = {"rng0", "balloon0", "console0", "pvpanic0"};
  for (const char* id : ids) config.disks.push_back({std::string("/") + id, false, false, id});
  EXPECT_EQ(Errors(config),
            (List{"IdentifierNotUnique disk[0] id=rng0", "IdentifierNotUnique disk[1] id=balloon0",
                  "IdentifierNotUnique disk[2] id=console0", "IdentifierNotUnique disk[3] id=pvpanic0"}));
  config.rng.clear();
  config.balloon.reset();
  config.pvpanic = false;
  config.console.mode = SerialConfig::Mode::kOff;
  EXPECT_EQ(Errors(config), List{});
}

TEST(Validate, ZoneIdsAreUnique) {
  VmConfig config = TwoNodes();
  config.memory_zones[1].id = "a";
  config.numa[1].memory_zones.clear();
  EXPECT_EQ(Errors(config), (List{"DuplicateZoneId memory-zone[1] id=a"}));
}

TEST(Validate, EachVcpuIsInExactlyOneNode) {
  VmConfig config = TwoNodes();
  config.numa[1].cpus = {1, 2};
  EXPECT_EQ(Errors(config), (List{"VcpuReused numa[1] cpus=1", "VcpuUnassigned numa cpus=3"}));
}

TEST(Validate, NodesNameExistingVcpus) {
  VmConfig config = TwoNodes();
  config.numa[1].cpus = {2, 3, 4, 9};
  EXPECT_EQ(Errors(config), (List{"InvalidVcpu numa[1] cpus=4,9"}));
}

TEST(Validate, EachZoneIsInExactlyOneExistingNode) {
  VmConfig config = TwoNodes();
  config.numa[1].memory_zones = {"a", "c"};
  EXPECT_EQ(Errors(config),
            (List{"MemoryZoneReused numa[1] memory_zones=a", "UnknownMemoryZone numa[1] memory_zones=c",
                  "MemoryZoneUnassigned memory-zone[1] id=b"}));
}

TEST(Validate, NodeIdsAreUnique) {
  VmConfig config = TwoNodes();
  config.numa.push_back({1, {}, {}, {}});
  EXPECT_EQ(Errors(config), (List{"DuplicateNumaNode numa[2] guest_numa_id=1"}));
}

TEST(Validate, WithoutCpusOfAnyNodeAllAreInTheFirst) {
  VmConfig config = TwoNodes();
  for (NumaConfig& node : config.numa) node.cpus = {};
  EXPECT_EQ(Errors(config), List());
  EXPECT_EQ(CpusOfNode(config, config.numa[0]), (CpuSet{0, 1, 2, 3}));
  EXPECT_EQ(CpusOfNode(config, config.numa[1]), CpuSet());
}

TEST(Validate, DistancesFollowTheSlitsRules) {
  VmConfig config = TwoNodes();
  config.numa[0].distances = {{0, 11}, {1, 10}, {7, 20}};
  config.numa[1].distances = {{0, 255}, {1, 10}};
  EXPECT_EQ(Errors(config),
            (List{"InvalidDistance numa[0] distances=0@11", "InvalidDistance numa[0] distances=1@10",
                  "UnknownNumaNode numa[0] distances=7@20"}));
  config.numa[0].distances = {{0, 10}, {1, 11}};
  config.numa[1].distances = {{0, 254}};
  EXPECT_EQ(Errors(config), List());
}

TEST(Validate, DevicesDoNotShareWhatIsWritten) {
  VmConfig config = TwoNodes();
  config.disks = {{"/x", true, false, "d0"}, {"/x", true, false, "d1"}, {"/x", false, false, "d2"}};
  config.nets = {{"tap0", "52:54:00:00:00:01", "n0"}, {"tap0", "52:54:00:00:00:01", "n1"}};
  EXPECT_EQ(Errors(config),
            (List{"DuplicateDevicePath disk[2] path=/x", "DuplicateDevicePath net[1] tap=tap0",
                  "DuplicateMac net[1] mac=52:54:00:00:00:01"}));
}

TEST(Validate, MacAddressesBelongToStations) {
  for (const char* mac :
       {"01:00:00:00:00:01", "00:00:00:00:00:00", "52:54:00:12:34", "52-54-00-12-34-56", ""}) {
    VmConfig config = TwoNodes();
    config.nets = {{"tap0", mac, "n0"}};
    EXPECT_EQ(Errors(config), (List{"InvalidValue net[0] mac=" + std::string(mac)}));
  }
}

TEST(Validate, TheDefaultZoneCanBeNamed) {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.numa = {{0, {0}, {}, {"mem0"}}};
  EXPECT_EQ(Errors(config), List());
}

TEST(EffectiveDistance, FallsBackToTheWayBackThenToTwenty) {
  std::vector<NumaConfig> nodes = {{0, {}, {{1, 15}}, {}}, {1, {}, {}, {}}, {9, {}, {{1, 30}}, {}}};

  EXPECT_EQ(EffectiveDistance(nodes, nodes[0], 0), 10);
  EXPECT_EQ(EffectiveDistance(nodes, nodes[0], 1), 15);
  EXPECT_EQ(EffectiveDistance(nodes, nodes[1], 0), 15);
  EXPECT_EQ(EffectiveDistance(nodes, nodes[1], 9), 30);
  EXPECT_EQ(EffectiveDistance(nodes, nodes[0], 9), 20);
}

// ---- Hotplug ------------------------------------------------------------------------------------------

VmConfig Growing(HotplugMethod method) {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.memory.hotplug_method = method;
  config.memory.hotplug_size = GiB(1);
  return config;
}

TEST(ValidateHotplug, AcceptsBothMethods) {
  EXPECT_EQ(Errors(Growing(HotplugMethod::kAcpi)), List());
  VmConfig config = Growing(HotplugMethod::kVirtioMem);
  config.memory.hotplugged_size = GiB(1);
  EXPECT_EQ(Errors(config), List());
}

TEST(ValidateHotplug, NothingToPlugIsInvalid) {
  VmConfig config = Growing(HotplugMethod::kVirtioMem);
  config.memory.hotplug_size = ByteSize();
  EXPECT_EQ(Errors(config), (List{"InvalidHotplugSize memory hotplug_size=0"}));
  config = Growing(HotplugMethod::kVirtioMem);
  config.memory.hotplugged_size = ByteSize();
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory hotplugged_size=0"}));
}

TEST(ValidateHotplug, WhatIsPluggedAtBootFitsAndNeedsVirtioMem) {
  VmConfig config = Growing(HotplugMethod::kVirtioMem);
  config.memory.hotplugged_size = GiB(2);
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory hotplugged_size=2G"}));
  config.memory.hotplug_size.reset();
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory hotplugged_size=2G"}));
  config = Growing(HotplugMethod::kAcpi);
  config.memory.hotplugged_size = MiB(512);
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory hotplugged_size=512M"}));
}

TEST(ValidateHotplug, SizesAreWholePieces) {
  VmConfig config = Growing(HotplugMethod::kAcpi);
  config.memory.hotplug_size = MiB(64);
  EXPECT_EQ(Errors(config), (List{"MisalignedMemorySize memory hotplug_size=64M"}));
  config.memory.hotplug_method = HotplugMethod::kVirtioMem;
  EXPECT_EQ(Errors(config), List());
  config.memory.hotplug_size = MiB(3);
  EXPECT_EQ(Errors(config), (List{"MisalignedMemorySize memory hotplug_size=3M"}));
}

TEST(ValidateHotplug, ZonesGrowOnlyByVirtioMem) {
  VmConfig config = TwoNodes();
  config.memory_zones[1].hotplug_size = GiB(1);
  EXPECT_EQ(Errors(config), (List{"InvalidHotplugMethodWithMemoryZones memory-zone[1] hotplug_size=1G"}));
  config.memory.hotplug_method = HotplugMethod::kVirtioMem;
  EXPECT_EQ(Errors(config), List());
  config.memory.hotplug_size = GiB(1);
  EXPECT_EQ(Errors(config), (List{"InvalidMemoryParameters memory hotplug_size=1G"}));
}

// ---- Topology, segments, enclaves ---------------------------------------------------------------------

TEST(ValidateTopology, TheProductIsMax) {
  VmConfig config = TwoNodes();
  config.cpus.topology = CpuTopologyConfig{1, 2, 1, 2};
  EXPECT_EQ(Errors(config), List());
  config.cpus.topology = CpuTopologyConfig{2, 2, 1, 2};
  EXPECT_EQ(Errors(config), (List{"InvalidTopology cpus topology=2:2:1:2"}));
  config.cpus.topology = CpuTopologyConfig{4, 1, 1, 1};
  EXPECT_EQ(Errors(config), (List{"InvalidTopology cpus topology=4:1:1:1"}));
}

TEST(ValidateTopology, ApicIdsMustFit) {
  VmConfig config;
  config.kernel = "k";
  config.cpus.boot = 165;
  config.cpus.topology = CpuTopologyConfig{1, 33, 1, 5};  // 33 cores take 6 bits
  EXPECT_EQ(Errors(config), (List{"InvalidTopology cpus topology=1:33:1:5"}));
}

TEST(ValidatePlatform, SegmentsExistOnce) {
  VmConfig config = TwoNodes();
  config.platform.num_pci_segments = 2;
  config.pci_segments = {{1, 1, 1}, {1, 0, 1}, {2, 1, 1}};
  EXPECT_EQ(Errors(config), (List{"DuplicatePciSegment pci-segment[1] pci_segment=1",
                                  "InvalidPciSegmentApertureWeight pci-segment[1] mmio32_aperture_weight=0",
                                  "InvalidPciSegment pci-segment[2] pci_segment=2"}));
  config.pci_segments.clear();
  config.platform.num_pci_segments = 97;
  EXPECT_EQ(Errors(config), (List{"InvalidNumPciSegments platform num_pci_segments=97"}));
}

TEST(ValidatePlatform, NodesOwnSegmentsOnceAndTheFirstOwnsSegmentZero) {
  VmConfig config = TwoNodes();
  config.platform.num_pci_segments = 3;
  config.numa[0].pci_segments = {0, 1};
  config.numa[1].pci_segments = {2};
  EXPECT_EQ(Errors(config), List());
  config.numa[1].pci_segments = {0, 1, 3};
  EXPECT_EQ(Errors(config),
            (List{"InvalidPciSegment numa[1] pci_segments=3", "PciSegmentReused numa[1] pci_segments=0-1",
                  "DefaultPciSegmentInvalidNode numa[1] pci_segments=0"}));
}

TEST(ValidatePlatform, DevicesSitInSegmentsThatExistAndHaveRoom) {
  VmConfig config = TwoNodes();
  for (int i = 0; i < 31; ++i) {
    DiskConfig disk;
    disk.path = disk.id = "d" + std::to_string(i);
    config.disks.push_back(disk);
  }
  EXPECT_EQ(Errors(config), (List{"TooManyDevices platform num_pci_segments=33 in segment 0"}));
  config.platform.num_pci_segments = 2;
  config.disks[0].pci_segment = 1;
  EXPECT_EQ(Errors(config), List());
  config.disks[0].pci_segment = 2;
  EXPECT_EQ(Errors(config), (List{"InvalidPciSegment disk[0] pci_segment=2"}));
}

TEST(ValidateDevices, QueuesAndLimitsAreInRange) {
  VmConfig config = TwoNodes();
  DiskConfig disk;
  disk.path = disk.id = "d";
  disk.num_queues = 65;
  disk.queue_size = 100;
  disk.limits.bandwidth.size = 5;
  disk.serial = std::string(21, 'x');
  config.disks = {disk};
  NetConfig net;
  net.tap = net.id = "t";
  net.mtu = 1000;
  net.limits.operations.one_time_burst = 5;
  config.nets = {net};
  EXPECT_EQ(Errors(config),
            (List{"InvalidQueueSize disk[0] queue_size=100", "InvalidRateLimit disk[0] bw_refill_time=0",
                  "TooManyQueues disk[0] num_queues=65", "InvalidValue disk[0] serial=" + *disk.serial,
                  "InvalidRateLimit net[0] ops_size=0", "InvalidMtu net[0] mtu=1000"}));
}

TEST(ValidateDevices, AnotherProcessNeedsTheGuestsMemory) {
  VmConfig config;
  config.kernel = "vmlinuz";
  DiskConfig disk;
  disk.id = "d";
  disk.vhost_user = true;
  disk.vhost_socket = "/run/disk";
  NetConfig net;
  net.id = "n";
  net.vhost_user = true;
  net.vhost_socket = "/run/disk";
  config.disks = {disk};
  config.nets = {net};
  EXPECT_EQ(Errors(config), (List{"VhostUserRequiresSharedMemory disk[0] vhost_user=on",
                                  "VhostUserRequiresSharedMemory net[0] vhost_user=on",
                                  "DuplicateDevicePath net[0] socket=/run/disk"}));
  config.memory.shared = true;
  config.nets[0].vhost_socket = "/run/net";
  EXPECT_EQ(Errors(config), List());
  config.memory.shared = false;
  config.memory.hugepages = true;  // always mapped shared
  EXPECT_EQ(Errors(config), List());

  config.disks[0].path = "/x";
  config.disks[0].limits.bandwidth = {1, 0, 1};
  config.nets[0].vhost_socket.reset();
  EXPECT_EQ(Errors(config), (List{"InvalidValue disk[0] path=/x", "InvalidRateLimit disk[0] vhost_user=on",
                                  "MissingKey net[0] socket="}));
  config.disks[0] = disk;
  config.disks[0].readonly = true;
  config.nets = {};
  EXPECT_EQ(Errors(config), (List{"InvalidValue disk[0] vhost_user=on"}));
}

TEST(ValidateDevices, ANetworkHasOneBackEndAndQueuesInPairs) {
  VmConfig config;
  config.kernel = "vmlinuz";
  NetConfig net;
  net.id = "n";
  config.nets = {net};
  EXPECT_EQ(Errors(config), (List{"MissingKey net[0] tap="}));
  config.nets[0].fds = {7, 2};
  EXPECT_EQ(Errors(config), (List{"InvalidValue net[0] fd=2"}));
  config.nets[0].fds = {7, 8};
  EXPECT_EQ(Errors(config), List());
  EXPECT_EQ(NetQueues(config.nets[0]), 4u);
  config.nets[0].num_queues = 2;
  EXPECT_EQ(Errors(config), (List{"VnetQueueFdMismatch net[0] num_queues=2"}));
  config.nets[0].fds = {};
  config.nets[0].tap = "t";
  for (const uint32_t queues : {0u, 1u, 3u, 66u}) {
    config.nets[0].num_queues = queues;
    EXPECT_EQ(Errors(config), (List{"TooManyQueues net[0] num_queues=" + std::to_string(queues)}));
  }
}

TEST(Validate, FirmwareStandsAlone) {
  VmConfig config;
  config.firmware = "firmware.elf";
  EXPECT_EQ(Errors(config), List());
  config.kernel = "vmlinuz";
  config.cmdline = "quiet";
  EXPECT_EQ(Errors(config), (List{"InvalidValue kernel =", "InvalidValue cmdline ="}));
}

TEST(ValidateNuma, ADeviceMayBeANode) {
  VmConfig config = TwoNodes();
  NumaConfig node;
  node.guest_numa_id = 2;
  node.device_id = "rng0";
  config.numa.push_back(node);
  EXPECT_EQ(Errors(config), List());
  config.numa[2].device_id = "gpu";
  EXPECT_EQ(Errors(config), (List{"UnknownDevice numa[2] device_id=gpu"}));
  config.numa[1].device_id = "rng0";
  config.numa.pop_back();
  EXPECT_EQ(Errors(config), (List{"InvalidNumaDevice numa[1] device_id=rng0"}));
}

TEST(ValidateNuma, EnclaveSectionsBelongToOneNode) {
  VmConfig config = TwoNodes();
  config.sgx_epc = {{"e", MiB(1), false}};
  config.numa[0].sgx_epc_sections = {"e"};
  EXPECT_EQ(Errors(config), List());
  config.numa[1].sgx_epc_sections = {"e", "f"};
  config.sgx_epc[0].size = KiB(2);
  EXPECT_EQ(Errors(config),
            (List{"InvalidSgxEpcSize sgx-epc[0] size=2K", "SgxEpcSectionReused numa[1] sgx_epc_sections=e",
                  "UnknownSgxEpcSection numa[1] sgx_epc_sections=f"}));
}

}  // namespace
}  // namespace berth::vmm
