#pragma once

#include <cstdint>
#include <vector>

namespace berth::vmm {

// A range of I/O virtual addresses that devices of the host may use, and the memory of this process behind
// it. For a guest without a virtual IOMMU the I/O virtual address is the guest-physical one.
struct DmaRun {
  enum class Kind {
    kMemory,
    kDevice,  // a BAR of another device: peer to peer
  };
  uint64_t iova = 0;
  uint64_t size = 0;
  uint8_t* host = nullptr;
  bool readable = true;  // by devices
  bool writable = true;
  Kind kind = Kind::kMemory;
  // 0, or a power of two: parts that begin and end at multiples of it may be unmapped alone later. Mappings
  // of a back end that cannot cut one are then no longer than this.
  uint64_t granule = 0;

  uint64_t end() const { return iova + size; }
  friend bool operator==(const DmaRun&, const DmaRun&) = default;
};

// [first, last], both inside.
struct IovaRange {
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;

  friend bool operator==(const IovaRange&, const IovaRange&) = default;
};

// Sorts by address and joins neighbours that continue each other in both address spaces and are alike. Pure.
std::vector<DmaRun> JoinRuns(std::vector<DmaRun> runs);

// Cuts a run at the multiples of its granule; a run without one stays whole. Pure.
std::vector<DmaRun> CutAtGranules(const DmaRun& run);

}  // namespace berth::vmm
