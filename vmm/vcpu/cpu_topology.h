#pragma once

#include <cstdint>
#include <vector>

#include "vmm/config/vm_config.h"

namespace berth::vmm {

// How the guest's vCPUs are numbered and grouped. As --cpus topology says; without it one thread a core, and
// one socket for each guest NUMA node, or one for all without NUMA, so that no socket (and no last-level
// cache) spans two nodes. An APIC id holds, from its low bits up, the numbers of thread, core, die and
// socket, as CPUID leaves 0xB and 0x1F tell the guest. A value type.
struct CpuTopology {
  struct Vcpu {
    uint32_t apic_id = 0;
    uint32_t socket = 0;
    uint32_t core = 0;  // in its socket: the die's number stands above core_bits
    uint32_t thread = 0;
  };
  std::vector<Vcpu> vcpus;
  // Widths of the numbers in an APIC id.
  uint32_t thread_bits = 0;
  uint32_t core_bits = 0;
  uint32_t die_bits = 0;
  uint32_t threads_per_core = 1;
  uint32_t cores_per_die = 1;
  uint32_t dies_per_socket = 1;

  uint32_t socket_bits() const { return thread_bits + core_bits + die_bits; }  // of what is below the socket
  uint32_t vcpus_per_socket() const { return threads_per_core * cores_per_die * dies_per_socket; }
  std::vector<uint32_t> apic_ids() const;
};

// vCPUs that no NUMA node names go with the first node, as the ACPI tables say. kOutOfRange when an APIC id
// would not fit 8 bits (255 means all CPUs), which guests without interrupt remapping need.
Result<CpuTopology> BuildCpuTopology(const CpusConfig& cpus, const std::vector<NumaConfig>& numa);

}  // namespace berth::vmm
