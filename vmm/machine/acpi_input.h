#pragma once

#include <cstdint>

#include "vmm/acpi/acpi_tables.h"
#include "vmm/bus/bar_allocator.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vcpu/cpu_topology.h"

namespace berth::vmm {

// The address windows of PCI segment 0.
struct PciWindows {
  PciWindow mmio32;
  PciWindow mmio64;  // size 0: RAM leaves no room for it
};
PciWindows WindowsFor(const GuestMemory& memory, uint32_t physical_bits);

// What the ACPI tables tell of the machine: vCPUs and memory with their guest nodes, distances, PCI segment
// 0.
acpi::AcpiInput BuildAcpiInput(const VmConfig& config, const CpuTopology& topology, const GuestMemory& memory,
                               uint32_t physical_bits);

}  // namespace berth::vmm
