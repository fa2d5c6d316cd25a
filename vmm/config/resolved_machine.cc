#include "vmm/config/resolved_machine.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "vmm/bus/layout.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

// Cuts the zones into regions of whole pages around the hole of [3 GiB, 4 GiB).
std::vector<ResolvedRegion> PlaceZones(const std::vector<MemoryZoneConfig>& zones,
                                       const std::vector<uint64_t>& page_sizes,
                                       const std::map<std::string, uint32_t>& owner) {
  std::vector<ResolvedRegion> regions;
  uint64_t next = 0;
  for (size_t i = 0; i < zones.size(); ++i) {
    const MemoryZoneConfig& zone = zones[i];
    uint64_t left = zone.size.bytes();
    while (left > 0) {
      const bool low = next <= layout::kLowRamEnd;
      const uint64_t room = low ? (layout::kLowRamEnd - next) / page_sizes[i] * page_sizes[i] : left;
      if (room == 0) {
        next = layout::kHighRam;
        continue;
      }
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
    ResolvedNode resolved;
    resolved.guest_numa_id = node.guest_numa_id;
    resolved.proximity_domain = static_cast<uint32_t>(nodes.size());
    resolved.vcpus = CpusOfNode(config, node);
    resolved.zones = node.memory_zones;
    resolved.sgx_sections = node.sgx_epc_sections;
    resolved.device = node.device_id;
    for (const NumaConfig& to : sorted)
      resolved.distances.push_back(EffectiveDistance(config.numa, node, to.guest_numa_id));
    nodes.push_back(std::move(resolved));
  }
  return nodes;
}

std::vector<ResolvedSegment> ResolveSegments(const VmConfig& config, std::optional<uint32_t> first_node) {
  std::vector<ResolvedSegment> segments;
  for (uint32_t number = 0; number < config.platform.num_pci_segments; ++number) {
    ResolvedSegment segment;
    segment.number = number;
    segment.guest_numa_id = first_node;
    for (const NumaConfig& node : config.numa) {
      if (node.pci_segments.Contains(number)) segment.guest_numa_id = node.guest_numa_id;
    }
    for (const PciSegmentConfig& given : config.pci_segments) {
      if (given.segment != number) continue;
      segment.mmio32_weight = given.mmio32_weight;
      segment.mmio64_weight = given.mmio64_weight;
    }
    segments.push_back(segment);
  }
  return segments;
}

std::vector<ResolvedHotplugArea> ResolveHotplug(const ResolvedMachine& machine,
                                                const std::vector<uint64_t>& page_sizes, bool known,
                                                const std::map<std::string, uint32_t>& owner) {
  const uint64_t ram_end =
      machine.regions.empty() ? 0 : machine.regions.back().base + machine.regions.back().size;
  std::vector<ResolvedHotplugArea> areas;
  for (HotplugArea& area : PlanHotplug(machine.hotplug_method, machine.zones, page_sizes, ram_end)) {
    ResolvedHotplugArea resolved{std::move(area), false, {}, {}};
    if (auto node = owner.find(resolved.area.zone); node != owner.end())
      resolved.guest_numa_id = node->second;
    for (const MemoryZoneConfig& zone : machine.zones) {
      if (zone.id != resolved.area.zone) continue;
      resolved.host_numa_node = zone.host_numa_node;
      resolved.assumed = zone.hugepages && !zone.hugepage_size && !known;
    }
    areas.push_back(std::move(resolved));
  }
  return areas;
}

std::optional<uint32_t> FirstNode(const VmConfig& config) {
  std::optional<uint32_t> first;
  for (const NumaConfig& node : config.numa) {
    if (!node.device_id) first = std::min(first.value_or(node.guest_numa_id), node.guest_numa_id);
  }
  return first;
}

}  // namespace

std::map<std::string, uint32_t> NodesOfZones(const VmConfig& config) {
  std::map<std::string, uint32_t> owner;
  for (const NumaConfig& node : config.numa) {
    for (const std::string& zone : node.memory_zones) owner.emplace(zone, node.guest_numa_id);
  }
  if (auto first = FirstNode(config)) {
    for (const MemoryZoneConfig& zone : EffectiveZones(config)) owner.emplace(zone.id, *first);
  }
  return owner;
}

CpuSet CpusOfNode(const VmConfig& config, const NumaConfig& node) {
  const bool named = std::any_of(config.numa.begin(), config.numa.end(),
                                 [](const NumaConfig& n) { return !n.cpus.empty(); });
  if (named || FirstNode(config) != node.guest_numa_id) return node.cpus;
  const uint32_t count = MaxVcpus(config.cpus);
  return count == 0 ? CpuSet() : CpuSet::Range(0, count - 1);
}

std::vector<std::string> DevicesBehindIommu(const VmConfig& config) {
  std::vector<std::string> ids;
  auto add = [&ids](const auto& device) {
    if (device.iommu) ids.push_back(device.id);
  };
  for (const DiskConfig& disk : config.disks) add(disk);
  for (const NetConfig& net : config.nets) add(net);
  for (const DeviceConfig& device : config.devices) add(device);
  if (config.vsock) add(*config.vsock);
  if (config.rng_iommu && !config.rng.empty()) ids.push_back("rng0");
  return ids;
}

bool HasIommu(const VmConfig& config) {
  return config.platform.iommu_model == IommuModel::kIntel || !config.platform.iommu_segments.empty() ||
         !DevicesBehindIommu(config).empty();
}

const char* BackingName(const MemoryZoneConfig& zone) {
  struct stat info{};
  if (zone.file)
    return ::stat(zone.file->c_str(), &info) == 0 && S_ISDIR(info.st_mode) ? "directory" : "file";
  return zone.hugepages ? "hugepages" : zone.shared ? "memfd" : "anonymous";
}

bool MappedShared(const MemoryZoneConfig& zone) {
  return zone.shared || zone.hugepages || BackingName(zone) == std::string_view("directory");
}

ResolvedMachine ResolveMachine(const VmConfig& config, std::optional<uint64_t> huge_page) {
  ResolvedMachine machine;
  machine.boot_vcpus = config.cpus.boot;
  machine.max_vcpus = MaxVcpus(config.cpus);
  machine.zones = EffectiveZones(config);
  machine.nodes = ResolveNodes(config);
  machine.pci_node = FirstNode(config);
  const std::map<std::string, uint32_t> owner = NodesOfZones(config);
  for (ResolvedNode& node : machine.nodes) {
    for (const auto& [zone, id] : owner) {
      const bool named = std::find(node.zones.begin(), node.zones.end(), zone) != node.zones.end();
      if (id == node.guest_numa_id && !named) node.zones.push_back(zone);
    }
  }
  std::vector<uint64_t> page_sizes;
  for (const MemoryZoneConfig& zone : machine.zones) {
    const uint64_t usual = zone.hugepages ? huge_page.value_or(MiB(2).bytes()) : KiB(4).bytes();
    page_sizes.push_back(zone.hugepage_size ? zone.hugepage_size->bytes() : usual);
  }
  machine.regions = PlaceZones(machine.zones, page_sizes, owner);
  machine.hotplug_method = config.memory.hotplug_method;
  machine.hotplug = ResolveHotplug(machine, page_sizes, huge_page.has_value(), owner);
  machine.segments = ResolveSegments(config, machine.pci_node);
  return machine;
}

}  // namespace berth::vmm
