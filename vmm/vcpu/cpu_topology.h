#pragma once

#include <cstdint>
#include <vector>

#include "vmm/config/vm_config.h"

namespace berth::vmm {

// How the guest's vCPUs are numbered and grouped: one thread a core; one socket for each guest NUMA node, or
// one for all without NUMA, so that no socket (and no last-level cache) spans two nodes. An APIC id holds the
// core number in its low bits and the socket above them, as CPUID leaf 0xB tells the guest. A value type.
struct CpuTopology {
  struct Vcpu {
    uint32_t apic_id = 0;
    uint32_t socket = 0;
    uint32_t core = 0;  // in its socket
  };
  std::vector<Vcpu> vcpus;
  uint32_t core_bits = 0;         // width of the core number in an APIC id
  uint32_t cores_per_socket = 0;  // of the largest socket

  std::vector<uint32_t> apic_ids() const;
};

// vCPUs that no NUMA node names go with the first node, as the ACPI tables say. kOutOfRange when an APIC id
// would not fit 8 bits (255 means all CPUs), which guests without interrupt remapping need.
Result<CpuTopology> BuildCpuTopology(const CpusConfig& cpus, const std::vector<NumaConfig>& numa);

}  // namespace berth::vmm
