#pragma once

#include <cstdint>
#include <span>

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

// What a device has in flight at most, all of which bounces: requests in each of its queues, and bytes of a
// request in one piece (the kernel bounces no more than 256 KiB of it at a time).
struct BounceProfile {
  uint32_t queues = 1;
  uint32_t depth = 0;
  uint64_t segment_bytes = 0;
};

// Of a device by its PCI class code (base class, subclass, interface), as Linux's drivers set one up on a
// guest of so many vCPUs: an estimate for advice, not a bound.
BounceProfile BounceProfileOf(uint32_t class_code, uint32_t vcpus);

// Bytes of bounce buffer that devices of these profiles want, with a quarter more for fragments.
uint64_t BounceNeed(std::span<const BounceProfile> devices);

}  // namespace berth
