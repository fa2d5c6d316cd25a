#pragma once

#include <chrono>
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

// Waits between two tries of what a vCPU asked for; as long as the vCPU is paused, too. False: it is stopped,
// and what it is answered reaches no guest. Empty: nobody pauses or stops the vCPU.
using VcpuRest = std::function<bool(std::chrono::milliseconds)>;

// What a confidential guest asks of the VMM: about the side of its memory, and by a TDX guest's calls.
class ConfidentialRequests {
 public:
  virtual ~ConfidentialRequests() = default;
  // KVM_HC_MAP_GPA_RANGE. The hypercall's result; an error: the guest must not go on.
  virtual Result<uint64_t> MapGpaRange(uint32_t vcpu, uint64_t gpa, uint64_t pages, uint64_t attributes,
                                       const VcpuRest& rest) = 0;
  // The guest meant the other kind of memory. OK: it tries again; an error: it cannot go on.
  virtual Status MemoryFault(uint32_t vcpu, const MemoryFaultExit& fault) = 0;
  // Leaves the result in the exit.
  virtual void TdVmCall(uint32_t vcpu, const TdxExit& call) = 0;
};

// Where a vCPU's exits go. The buses outlive the vCPUs.
struct VcpuTargets {
  Bus* ports = nullptr;
  Bus* mmio = nullptr;
  std::function<void(uint8_t vector)> end_of_interrupt;  // may be empty
  ConfidentialRequests* requests = nullptr;              // of a confidential guest; outlives the vCPUs
  uint32_t vcpu = 0;                                     // its number, for them
  VcpuRest rest = {};                                    // the thread's, which sets it
};

// Serves one exit: port and MMIO accesses on the buses, ends of interrupts. An ending when the vCPU is not to
// run again. `vcpu` is asked for its registers when a failure is to be explained.
std::optional<VcpuEnding> ServeExit(const VcpuExit& exit, const VcpuTargets& targets, KvmVcpu& vcpu);

}  // namespace berth::vmm
