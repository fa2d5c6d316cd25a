#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_run.h"

namespace berth::vmm {

// What the kernel lets be mapped now.
struct DmaLimits {
  std::vector<IovaRange> ranges;       // sorted; outside of them nothing can be mapped
  uint64_t page_size = 4096;           // every address and size is a multiple of it
  uint64_t entries_left = UINT64_MAX;  // mappings that may still be made
  bool can_cut = false;                // a part of a mapping can be unmapped alone
  bool can_map_devices = true;         // runs of Kind::kDevice
};

// One I/O address space of the kernel. Each call is one system call that either happens or changes nothing,
// with one exception: see Unmap. Thread-compatible.
class DmaBackend {
 public:
  virtual ~DmaBackend() = default;
  // "type1", "iommufd"
  virtual std::string_view name() const = 0;
  virtual Result<DmaLimits> Limits() = 0;
  // Memory of which parts are going to be mapped and unmapped again and again: what can be done for it once
  // is. Maps nothing. Takes the place of what was said before; mappings stay.
  virtual void Expect(std::span<const DmaRun>) {}
  // kAlreadyExists: overlaps; kResourceExhausted: no entry left, or the memory that may be locked is used up
  // (the hint says which limit to raise); kInvalidArgument: alignment.
  virtual Status Map(const DmaRun& run) = 0;
  // The range is one mapping, or with can_cut a part of one.
  virtual Status Unmap(uint64_t iova, uint64_t size) = 0;
};

}  // namespace berth::vmm
