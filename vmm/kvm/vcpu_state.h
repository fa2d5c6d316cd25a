#pragma once

#include "vmm/kvm/kvm.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// A vCPU's state as snapshots have it.
void SaveVcpu(const VcpuSnapshot& vcpu, StateWriter& out);
// What does not fit fails the reader. Whether the numbers make sense is KVM's to find out.
VcpuSnapshot LoadVcpu(StateReader& in);

// Refuses CPUID leaves that this host cannot give a guest: the guest has seen features that are missing here.
// kFailedPrecondition names the first leaf and its bits.
Status CheckCpuid(std::span<const kvm_cpuid_entry2> wanted, std::span<const kvm_cpuid_entry2> supported);

}  // namespace berth::vmm
