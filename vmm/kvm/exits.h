#pragma once

#include <array>
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
  uint32_t type = 0;             // KVM_SYSTEM_EVENT_*
  std::vector<uint64_t> data{};  // of some types, registers of the guest
};

// A hypercall that KVM leaves to us (KvmVm::EnableMapGpaExits). `*result` reaches the guest with the next
// Run.
struct HypercallExit {
  uint64_t number = 0;  // KVM_HC_*
  std::array<uint64_t, 6> arguments{};
  uint64_t* result = nullptr;
};

// The guest touched memory as the other kind, private or shared, than it is. It tries again with the next
// Run.
struct MemoryFaultExit {
  uint64_t gpa = 0;
  uint64_t size = 0;
  bool is_private = false;  // what the guest meant
  bool poisoned = false;    // the page has a memory error
};

// A TDVMCALL of a TDX guest that KVM leaves to us. `*result` (a status code of the GHCI) and what is written
// to `data` reach the guest with the next Run.
struct TdxExit {
  uint64_t number = 0;  // sub-function
  std::span<uint64_t> data{};
  uint64_t* result = nullptr;
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

using VcpuExit =
    std::variant<PortExit, MmioExit, EoiExit, HaltExit, ShutdownExit, SystemEventExit, EntryFailureExit,
                 InternalErrorExit, InterruptedExit, HypercallExit, MemoryFaultExit, TdxExit, OtherExit>;

}  // namespace berth::vmm
