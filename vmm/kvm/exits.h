#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace berth::vmm {

// Why KVM_RUN came back. The spans lie in memory shared with the kernel and are valid until the next Run of
// the same vCPU; what a read handler puts there reaches the guest with that Run.

// `count` accesses of `size` bytes each (string instructions give more than one), one after the other.
struct PortExit {
  bool write = false;
  uint16_t port = 0;
  uint8_t size = 0;  // 1, 2 or 4
  std::span<uint8_t> data;
};

struct MmioExit {
  bool write = false;
  uint64_t address = 0;
  std::span<uint8_t> data;  // 1..8 bytes
};

// The guest ended a level-triggered interrupt that an IOAPIC pin had raised.
struct EoiExit {
  uint8_t vector = 0;
};

struct HaltExit {};
// Triple fault: on a real machine the processor would reset.
struct ShutdownExit {};

struct SystemEventExit {
  uint32_t type = 0;  // KVM_SYSTEM_EVENT_*
};

// The processor refused to enter the guest.
struct EntryFailureExit {
  uint64_t hardware_reason = 0;
};

// KVM could not go on, for example an instruction that it cannot emulate.
struct InternalErrorExit {
  uint32_t suberror = 0;
  std::vector<uint64_t> data;
};

// A signal, or SetImmediateExit.
struct InterruptedExit {};

struct OtherExit {
  uint32_t reason = 0;  // KVM_EXIT_*
};

using VcpuExit = std::variant<PortExit, MmioExit, EoiExit, HaltExit, ShutdownExit, SystemEventExit,
                              EntryFailureExit, InternalErrorExit, InterruptedExit, OtherExit>;

}  // namespace berth::vmm
