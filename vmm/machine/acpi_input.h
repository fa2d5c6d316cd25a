#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "vmm/acpi/acpi_tables.h"
#include "vmm/config/vm_config.h"
#include "vmm/machine/host_performance.h"
#include "vmm/machine/pci_topology.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vcpu/cpu_topology.h"

namespace berth::vmm {

// The address windows of one PCI segment.
struct SegmentWindows {
  uint32_t segment = 0;
  PciWindow mmio32;
  PciWindow mmio64;  // size 0: RAM leaves no room for it
};
// Cuts the space for BARs below 4 GiB and above RAM (and room for more of it) by the segments' weights.
std::vector<SegmentWindows> WindowsFor(const VmConfig& config, const GuestMemory& memory,
                                       uint32_t physical_bits);

// Where a device with an id sits.
using DevicePlaces = std::map<std::string, PciPlace>;
// The virtual IOMMU's id.
inline constexpr char kIommuId[] = "iommu0";

// What the ACPI tables tell of the machine: vCPUs and memory with their guest nodes, distances, PCI segments,
// devices that are nodes, and what can be plugged. `host`: how fast host nodes are.
acpi::AcpiInput BuildAcpiInput(const VmConfig& config, const CpuTopology& topology, const GuestMemory& memory,
                               const DevicePlaces& places, const HostPerformance& host,
                               uint32_t physical_bits);

}  // namespace berth::vmm
