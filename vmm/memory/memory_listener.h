#pragma once

#include <cstdint>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Told of RAM that appears in and disappears from the guest while it runs: for those who map all of it
// somewhere (DMA, vhost-user). Calls come one at a time, from any thread.
class MemoryListener {
 public:
  virtual ~MemoryListener() = default;
  // A run of RAM (no part of a hot-plug area that is not plugged). On an error the memory is not added.
  virtual Status OnAdded(const MemoryRegion& run) = 0;
  // What is removed was added before, but perhaps in other pieces. On an error something may still reach it:
  // then it must stay as it is.
  virtual Status OnRemoved(Gpa base, uint64_t size) = 0;
};

}  // namespace berth::vmm
