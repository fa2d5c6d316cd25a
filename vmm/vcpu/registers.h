#pragma once

#include "common/status.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// 64-bit mode as the Linux boot protocol wants it: paging on with the entry's tables, flat segments,
// interrupts off, RSI at the zero page. Everything else as `reset` has it.
VcpuState BootState(const VcpuState& reset, const BootEntry& entry);

// Model-specific registers of every vCPU: system call entries cleared, fast strings, memory write-back.
std::span<const kvm_msr_entry> BootMsrs();

// The local interrupt pins as a BIOS leaves them: LINT0 takes ExtINT, LINT1 takes NMI.
kvm_lapic_state BootLapic(const kvm_lapic_state& reset);

}  // namespace berth::vmm
