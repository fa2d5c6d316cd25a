#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "vmm/kvm/kvm.h"
#include "vmm/vcpu/cpu_topology.h"

namespace berth::vmm {

// What one vCPU's CPUID instruction answers: the host's supported leaves with this vCPU's APIC id and place
// in the topology (leaves 1, 4, 0xB, 0x1F; on AMD 0x80000008, 0x8000001D, 0x8000001E), the hypervisor bit and
// leaves, the TSC deadline timer, and the TSC frequency (0x15 on Intel, 0x40000010 everywhere) when `tsc_khz`
// is not 0. Pure.
std::vector<kvm_cpuid_entry2> BuildCpuid(const std::vector<kvm_cpuid_entry2>& supported,
                                         const KvmCapabilities& capabilities, const CpuTopology& topology,
                                         uint32_t vcpu, uint32_t tsc_khz);

// Makes the supported leaves tell this width of guest-physical addresses.
void LimitPhysicalAddressBits(std::vector<kvm_cpuid_entry2>& leaves, uint32_t bits);

// Width of guest-physical addresses, from leaf 0x80000008; 36 when the host does not tell.
uint32_t PhysicalAddressBits(const std::vector<kvm_cpuid_entry2>& supported);

}  // namespace berth::vmm
