#include "vmm/config/resolved_machine.h"

#include <algorithm>
#include <map>

#include "vmm/bus/layout.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

// Cuts the zones into regions around the hole of [3 GiB, 4 GiB).
std::vector<ResolvedRegion> PlaceZones(const std::vector<MemoryZoneConfig>& zones,
                                       const std::map<std::string, uint32_t>& owner) {
  std::vector<ResolvedRegion> regions;
  uint64_t next = 0;
  for (const MemoryZoneConfig& zone : zones) {
    uint64_t left = zone.size.bytes();
    while (left > 0) {
      if (next == layout::kLowRamEnd) next = layout::kHighRam;
      uint64_t room = next < layout::kLowRamEnd ? layout::kLowRamEnd - next : left;
      ResolvedRegion region{zone.id, next, std::min(left, room), {}, zone.host_numa_node};
      if (auto node = owner.find(zone.id); node != owner.end()) region.guest_numa_id = node->second;
      next += region.size;
      left -= region.size;
      regions.push_back(std::move(region));
    }
  }
  return regions;
}

std::vector<ResolvedNode> ResolveNodes(const VmConfig& config) {
  std::vector<NumaConfig> sorted = config.numa;
  std::sort(sorted.begin(), sorted.end(),
            [](const NumaConfig& a, const NumaConfig& b) { return a.guest_numa_id < b.guest_numa_id; });
  std::vector<ResolvedNode> nodes;
  for (const NumaConfig& node : sorted) {
    ResolvedNode resolved{
        node.guest_numa_id, static_cast<uint32_t>(nodes.size()), node.cpus, node.memory_zones, {}};
    for (const NumaConfig& to : sorted)
      resolved.distances.push_back(EffectiveDistance(config.numa, node, to.guest_numa_id));
    nodes.push_back(std::move(resolved));
  }
  return nodes;
}

}  // namespace

ResolvedMachine ResolveMachine(const VmConfig& config) {
  ResolvedMachine machine;
  machine.boot_vcpus = config.cpus.boot;
  machine.max_vcpus = MaxVcpus(config.cpus);
  machine.zones = EffectiveZones(config);
  machine.nodes = ResolveNodes(config);
  std::map<std::string, uint32_t> owner;
  for (const ResolvedNode& node : machine.nodes) {
    for (const std::string& zone : node.zones) owner.emplace(zone, node.guest_numa_id);
  }
  if (!machine.nodes.empty()) {
    ResolvedNode& first = machine.nodes.front();
    machine.pci_node = first.guest_numa_id;
    for (const MemoryZoneConfig& zone : machine.zones) {
      if (owner.emplace(zone.id, first.guest_numa_id).second) first.zones.push_back(zone.id);
    }
  }
  machine.regions = PlaceZones(machine.zones, owner);
  return machine;
}

}  // namespace berth::vmm
