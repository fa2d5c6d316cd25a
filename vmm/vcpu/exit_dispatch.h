#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "vmm/bus/bus.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// Why a vCPU left the guest for good.
enum class VcpuEnd {
  kReset,     // the guest asked for a reset (triple fault, system event)
  kPowerOff,  // the guest powered off by a system event
  kFailed,    // KVM cannot go on; the message says why
};

struct VcpuEnding {
  VcpuEnd end = VcpuEnd::kFailed;
  std::string message;
};

// Where a vCPU's exits go. The buses outlive the vCPUs.
struct VcpuTargets {
  Bus* ports = nullptr;
  Bus* mmio = nullptr;
  std::function<void(uint8_t vector)> end_of_interrupt;  // may be empty
};

// Serves one exit: port and MMIO accesses on the buses, ends of interrupts. An ending when the vCPU is not to
// run again. `vcpu` is asked for its registers when a failure is to be explained.
std::optional<VcpuEnding> ServeExit(const VcpuExit& exit, const VcpuTargets& targets, KvmVcpu& vcpu);

}  // namespace berth::vmm
