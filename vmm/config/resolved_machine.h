#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/cpu_set.h"
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
  std::vector<uint8_t> distances;  // to each node, in the order of ResolvedMachine::nodes
};

// What a validated configuration amounts to: who is where, every default filled in.
struct ResolvedMachine {
  uint32_t boot_vcpus = 0;
  uint32_t max_vcpus = 0;
  std::vector<MemoryZoneConfig> zones;
  std::vector<ResolvedRegion> regions;  // by address
  std::vector<ResolvedNode> nodes;      // by guest_numa_id; empty without --numa
  std::optional<uint32_t>
      pci_node;  // guest_numa_id of the PCI bus: 0 if there is such a node, else the lowest
};

// `config` must be valid (ValidateConfig). RAM that no node names (--memory without zones, nodes without
// memory_zones) belongs to the node of the PCI bus.
ResolvedMachine ResolveMachine(const VmConfig& config);

// For --check: as text for people, and as JSON {vcpus, memory_zones, memory_regions, numa_nodes, devices}.
std::string DescribeMachine(const VmConfig& config);
std::string DescribeMachineJson(const VmConfig& config);

}  // namespace berth::vmm
