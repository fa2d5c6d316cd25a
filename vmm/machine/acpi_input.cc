#include "vmm/machine/acpi_input.h"

#include <algorithm>
#include <optional>
#include <string>

#include "vmm/bus/layout.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/machine/intel_iommu.h"

namespace berth::vmm {
namespace {

// Shares of a window in the ratio of weights, one behind the other, on whole units.
class Shares {
 public:
  Shares(PciWindow window, uint64_t total_weight)
      : next_(window.base), size_(window.size), total_(total_weight) {
    constexpr uint64_t kFine = uint64_t{1} << 20;
    constexpr uint64_t kCoarse = uint64_t{1} << 30;
    unit_ = size_ / total_ >= 4 * kCoarse ? kCoarse : kFine;
  }
  PciWindow Take(uint64_t weight) {
    // In this order nothing overflows: weights have 17 bits and sizes up to 52.
    const uint64_t share = (size_ / total_ * weight + size_ % total_ * weight / total_) / unit_ * unit_;
    PciWindow window{next_, share};
    next_ += share;
    return window;
  }

 private:
  uint64_t next_;
  uint64_t size_;
  uint64_t total_;
  uint64_t unit_ = 0;
};

void AddNodes(const VmConfig& config, acpi::AcpiInput& input) {
  for (const NumaConfig& node : config.numa) {
    input.nodes.push_back(node.guest_numa_id);
    for (const NumaConfig& other : config.numa) {
      input.distances[{node.guest_numa_id, other.guest_numa_id}] =
          EffectiveDistance(config.numa, node, other.guest_numa_id);
    }
  }
}

void AddMemory(const VmConfig& config, const GuestMemory& memory, const HostPerformance& host,
               acpi::AcpiInput& input) {
  const std::map<std::string, uint32_t> nodes = NodesOfZones(config);
  for (const auto& [regions, hotplug] :
       {std::pair(&memory.regions(), false), std::pair(&memory.hotplug_areas(), true)}) {
    for (const MemoryRegion& region : *regions) {
      auto node = nodes.find(region.zone);
      if (node == nodes.end()) continue;
      input.memory.push_back({Raw(region.base), region.size, node->second, hotplug});
      auto figures = region.host_numa_node.has_value() ? host.find(*region.host_numa_node) : host.end();
      const bool known = std::any_of(input.performance.begin(), input.performance.end(),
                                     [&](const auto& other) { return other.node == node->second; });
      if (figures == host.end() || known) continue;
      const NodePerformance& speed = figures->second;
      input.performance.push_back({node->second, speed.read_latency_ns, speed.write_latency_ns,
                                   speed.read_bandwidth_mbs, speed.write_bandwidth_mbs});
    }
  }
}

// Who is behind the virtual IOMMU: each device that is said to be, and whatever is or comes into the segments
// that are its own.
acpi::AcpiIommu DescribeIommu(const VmConfig& config, const PciPlace& own, const DevicePlaces& places) {
  acpi::AcpiIommu iommu;
  iommu.segment = static_cast<uint16_t>(own.segment);
  iommu.slot = static_cast<uint8_t>(own.slot);
  constexpr uint16_t kLastOfBus = 0xff;
  const CpuSet& whole = config.platform.iommu_segments;
  for (uint32_t segment : whole.ToVector()) {
    iommu.endpoints.push_back({static_cast<uint16_t>(segment), 0, kLastOfBus});
  }
  for (const std::string& id : DevicesBehindIommu(config)) {
    auto place = places.find(id);
    if (place == places.end() || whole.Contains(place->second.segment)) continue;
    const uint16_t function = place->second.function();
    iommu.endpoints.push_back({static_cast<uint16_t>(place->second.segment), function, function});
  }
  return iommu;
}

}  // namespace

std::vector<SegmentWindows> WindowsFor(const VmConfig& config, const GuestMemory& memory,
                                       uint32_t physical_bits) {
  uint64_t ram_end = 0;
  for (const auto* regions : {&memory.regions(), &memory.hotplug_areas()}) {
    for (const MemoryRegion& region : *regions) ram_end = std::max(ram_end, Raw(region.base) + region.size);
  }
  const std::vector<ResolvedSegment> segments = ResolveMachine(config).segments;
  uint64_t weight32 = 0, weight64 = 0;
  for (const ResolvedSegment& segment : segments) {
    weight32 += segment.mmio32_weight;
    weight64 += segment.mmio64_weight;
  }
  // Below the configuration window, which lies in the 32-bit hole.
  Shares shares32({layout::kMmio32Base, layout::kPciConfigBase - layout::kMmio32Base}, weight32);
  Shares shares64({layout::Mmio64Base(ram_end), layout::Mmio64Size(ram_end, physical_bits)}, weight64);
  std::vector<SegmentWindows> windows;
  windows.reserve(segments.size());
  for (const ResolvedSegment& segment : segments) {
    windows.push_back(
        {segment.number, shares32.Take(segment.mmio32_weight), shares64.Take(segment.mmio64_weight)});
  }
  return windows;
}

acpi::AcpiInput BuildAcpiInput(const VmConfig& config, const CpuTopology& topology, const GuestMemory& memory,
                               const DevicePlaces& places, const HostPerformance& host,
                               uint32_t physical_bits) {
  const ResolvedMachine resolved = ResolveMachine(config);
  acpi::AcpiInput input;
  for (uint32_t id = 0; id < topology.vcpus.size(); id++) {
    acpi::AcpiVcpu vcpu;
    vcpu.apic_id = topology.vcpus[id].apic_id;
    vcpu.present = id < config.cpus.boot;
    for (const NumaConfig& node : config.numa) {
      if (CpusOfNode(config, node).Contains(id)) vcpu.node = node.guest_numa_id;
    }
    input.vcpus.push_back(vcpu);
  }
  AddNodes(config, input);
  AddMemory(config, memory, host, input);
  for (const NumaConfig& node : config.numa) {
    if (!node.device_id) continue;
    auto place = places.find(*node.device_id);
    if (place == places.end()) continue;  // it was unplugged before this boot
    input.initiators.push_back({node.guest_numa_id, static_cast<uint16_t>(place->second.segment),
                                static_cast<uint8_t>(place->second.slot)});
  }
  if (auto own = places.find(kIommuId); own != places.end()) {
    input.iommu = DescribeIommu(config, own->second, places);
  }
  if (config.platform.iommu_model == IommuModel::kIntel) {
    acpi::AcpiVtd& units = input.vtd.emplace();
    units.address_bits = physical_bits;
    units.io_apic_source = vtd::kIoApicSource;
    for (const ResolvedSegment& segment : resolved.segments) {
      units.units.push_back({static_cast<uint16_t>(segment.number), IntelIommu::RegistersOf(segment.number)});
    }
  }
  for (const SegmentWindows& windows : WindowsFor(config, memory, physical_bits)) {
    acpi::AcpiPciSegment segment;
    segment.segment = static_cast<uint16_t>(windows.segment);
    segment.ecam_base = layout::kPciConfigBase + windows.segment * layout::kPciConfigSegmentSize;
    if (windows.segment == 0) segment.io = acpi::AcpiWindow{layout::kPciIoBase, layout::kPciIoSize};
    if (windows.mmio32.size > 0) segment.mmio32 = acpi::AcpiWindow{windows.mmio32.base, windows.mmio32.size};
    if (windows.mmio64.size > 0) segment.mmio64 = acpi::AcpiWindow{windows.mmio64.base, windows.mmio64.size};
    segment.node = resolved.segments[windows.segment].guest_numa_id;
    for (uint32_t i = 0; i < layout::kIntxPins; ++i) segment.intx_gsis.push_back(layout::kFirstIntxIrq + i);
    input.segments.push_back(segment);
  }
  const uint64_t platform = layout::PlatformAreaBase(physical_bits);
  input.com1 = config.serial.mode != SerialConfig::Mode::kOff;
  input.ged_address = platform + layout::kGedOffset;
  if (resolved.max_vcpus > 1) input.hotplug.cpu = platform + layout::kCpuHotplugOffset;
  if (resolved.hotplug_method == HotplugMethod::kAcpi && !resolved.hotplug.empty()) {
    input.hotplug.memory = platform + layout::kMemoryHotplugOffset;
    input.hotplug.memory_node = resolved.hotplug.front().guest_numa_id;
  }
  input.hotplug.pci = platform + layout::kPciHotplugOffset;
  return input;
}

}  // namespace berth::vmm
