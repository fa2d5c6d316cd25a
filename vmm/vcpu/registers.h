#pragma once

#include "common/status.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// As the entry's mode wants it: 64-bit mode with paging by the entry's tables and RSI at the zero page, or
// 32-bit protected mode with EBX at the start information; flat segments, interrupts off. All else as `reset`
// has it.
VcpuState BootState(const VcpuState& reset, const BootEntry& entry);

// Model-specific registers of every vCPU: system call entries cleared, fast strings, memory write-back.
std::span<const kvm_msr_entry> BootMsrs();

// The local interrupt pins as a BIOS leaves them: LINT0 takes ExtINT, LINT1 takes NMI.
kvm_lapic_state BootLapic(const kvm_lapic_state& reset);

}  // namespace berth::vmm
