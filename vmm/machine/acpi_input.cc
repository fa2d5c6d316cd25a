#include "vmm/machine/acpi_input.h"

#include <algorithm>
#include <optional>
#include <string>

#include "vmm/bus/layout.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

// A zone that no node names belongs to the node of the PCI bus.
std::optional<uint32_t> NodeOfZone(const VmConfig& config, const ResolvedMachine& resolved,
                                   const std::string& zone) {
  for (const NumaConfig& node : config.numa) {
    if (std::find(node.memory_zones.begin(), node.memory_zones.end(), zone) != node.memory_zones.end()) {
      return node.guest_numa_id;
    }
  }
  return resolved.pci_node;
}

}  // namespace

PciWindows WindowsFor(const GuestMemory& memory, uint32_t physical_bits) {
  uint64_t ram_end = 0;
  for (const MemoryRegion& region : memory.regions()) {
    ram_end = std::max(ram_end, Raw(region.base) + region.size);
  }
  PciWindows windows;
  // Below the configuration window, which lies in the 32-bit hole.
  windows.mmio32 = {layout::kMmio32Base, layout::kPciConfigBase - layout::kMmio32Base};
  windows.mmio64 = {layout::Mmio64Base(ram_end), layout::Mmio64Size(ram_end, physical_bits)};
  return windows;
}

acpi::AcpiInput BuildAcpiInput(const VmConfig& config, const CpuTopology& topology, const GuestMemory& memory,
                               uint32_t physical_bits) {
  const ResolvedMachine resolved = ResolveMachine(config);
  acpi::AcpiInput input;
  for (uint32_t id = 0; id < topology.vcpus.size(); id++) {
    acpi::AcpiVcpu vcpu;
    vcpu.apic_id = topology.vcpus[id].apic_id;
    vcpu.present = id < config.cpus.boot;
    if (!config.numa.empty()) vcpu.node = config.numa[topology.vcpus[id].socket].guest_numa_id;
    input.vcpus.push_back(vcpu);
  }
  for (const NumaConfig& node : config.numa) {
    input.nodes.push_back(node.guest_numa_id);
    for (const NumaConfig& other : config.numa) {
      input.distances[{node.guest_numa_id, other.guest_numa_id}] =
          EffectiveDistance(config.numa, node, other.guest_numa_id);
    }
  }
  for (const MemoryRegion& region : memory.regions()) {
    std::optional<uint32_t> node = NodeOfZone(config, resolved, region.zone);
    if (!node.has_value()) continue;
    input.memory.push_back({Raw(region.base), region.size, *node, false});
  }
  PciWindows windows = WindowsFor(memory, physical_bits);
  acpi::AcpiPciSegment segment;
  segment.io = acpi::AcpiWindow{layout::kPciIoBase, layout::kPciIoSize};
  segment.mmio32 = acpi::AcpiWindow{windows.mmio32.base, windows.mmio32.size};
  if (windows.mmio64.size > 0) segment.mmio64 = acpi::AcpiWindow{windows.mmio64.base, windows.mmio64.size};
  segment.node = resolved.pci_node;
  for (uint32_t i = 0; i < layout::kIntxPins; ++i) segment.intx_gsis.push_back(layout::kFirstIntxIrq + i);
  input.segments.push_back(segment);
  input.com1 = config.serial.mode != SerialConfig::Mode::kOff;
  input.ged_address = layout::PlatformAreaBase(physical_bits) + layout::kGedOffset;
  return input;
}

}  // namespace berth::vmm
