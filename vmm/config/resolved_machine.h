#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/cpu_set.h"
#include "vmm/config/hotplug_plan.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// A piece of RAM: zones lie one behind the other, and one that reaches the hole below 4 GiB is split there.
struct ResolvedRegion {
  std::string zone;
  uint64_t base = 0;
  uint64_t size = 0;
  std::optional<uint32_t> guest_numa_id;
  std::optional<uint32_t> host_numa_node;
};

struct ResolvedNode {
  uint32_t guest_numa_id = 0;
  uint32_t proximity_domain = 0;  // the guest's number of it
  CpuSet vcpus;
  std::vector<std::string> zones;
  std::vector<std::string> sgx_sections;
  std::optional<std::string> device;  // that the node is
  std::vector<uint8_t> distances;     // to each node, in the order of ResolvedMachine::nodes
};

// Memory that can be added to a zone.
struct ResolvedHotplugArea {
  HotplugArea area;
  bool assumed = false;  // its block: the zone has huge pages of the host's default size, which is not known
  std::optional<uint32_t> guest_numa_id;
  std::optional<uint32_t> host_numa_node;
};

struct ResolvedSegment {
  uint32_t number = 0;
  std::optional<uint32_t> guest_numa_id;
  uint32_t mmio32_weight = 1;
  uint32_t mmio64_weight = 1;
};

// What a validated configuration amounts to: who is where, every default filled in.
struct ResolvedMachine {
  uint32_t boot_vcpus = 0;
  uint32_t max_vcpus = 0;
  std::vector<MemoryZoneConfig> zones;
  std::vector<ResolvedRegion> regions;  // by address
  HotplugMethod hotplug_method = HotplugMethod::kAcpi;
  std::vector<ResolvedHotplugArea> hotplug;  // by address
  std::vector<ResolvedSegment> segments;     // by number
  std::vector<ResolvedNode> nodes;           // by guest_numa_id; empty without --numa
  // guest_numa_id of PCI segment 0: 0 if there is such a node, else the lowest that is no device.
  std::optional<uint32_t> pci_node;
};

// `config` must be valid (ValidateConfig). RAM that no node names (--memory without zones, nodes without
// memory_zones) belongs to the node of PCI segment 0, and so do vCPUs that no node names. `huge_page`: the
// host's default size, of zones that give none; 2M is taken where it is not known.
ResolvedMachine ResolveMachine(const VmConfig& config, std::optional<uint64_t> huge_page = std::nullopt);

// guest_numa_id of each zone that is in a node; the rules are those of ResolveMachine.
std::map<std::string, uint32_t> NodesOfZones(const VmConfig& config);

// The vCPUs of one of `config`'s nodes, up to the last that can be plugged. Where no node names vCPUs, as in
// most examples of the memory document, all belong to the node of PCI segment 0.
CpuSet CpusOfNode(const VmConfig& config, const NumaConfig& node);

// Whether the machine has a virtual IOMMU: one of Intel, or something is behind it, or may come.
bool HasIommu(const VmConfig& config);
// The ids of the devices that are behind it.
std::vector<std::string> DevicesBehindIommu(const VmConfig& config);

// For --check: as text for people, and as JSON {vcpus, memory_zones, memory_regions, numa_nodes, devices}.
// Looks which zone files are directories.
std::string DescribeMachine(const VmConfig& config, std::optional<uint64_t> huge_page = std::nullopt);
std::string DescribeMachineJson(const VmConfig& config, std::optional<uint64_t> huge_page = std::nullopt);

// What a zone's pages come from, in a word: "anonymous", "memfd", "hugepages", "file", "directory".
const char* BackingName(const MemoryZoneConfig& zone);
// Whether others could map them: so are all but anonymous pages and files that are not to be.
bool MappedShared(const MemoryZoneConfig& zone);

}  // namespace berth::vmm
