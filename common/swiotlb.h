#pragma once

#include <cstdint>

namespace berth {

// Bounce buffer (SWIOTLB) of a guest, as Linux 6.6 and later sizes it at boot. Scheduler, agent and VMM all
// use this one function, so that what is charged is what the guest takes.
struct SwiotlbQuestion {
  uint64_t guest_ram_bytes = 0;
  uint32_t max_vcpus = 1;         // possible CPUs of the guest, hot-pluggable ones included
  bool x86_confidential = false;  // the kernel's rule of 6 % of RAM applies
  uint64_t slabs = 0;             // swiotlb=SLABS of the guest's command line; 0: the default, 64 MiB
  uint64_t areas = 0;             // the second number there; 0: one per CPU
};

inline constexpr uint64_t kSwiotlbSlabBytes = 2048;

// Bytes of the guest's bounce buffer, always a power of two of at least 256 KiB. Saturates: questions beyond
// 2^62 bytes answer 2^62.
uint64_t SwiotlbBytes(const SwiotlbQuestion& question);

}  // namespace berth
