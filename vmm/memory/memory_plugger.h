#pragma once

#include <cstdint>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Makes parts of hot-plug areas RAM and takes them back. Thread-safe.
class MemoryPlugger {
 public:
  virtual ~MemoryPlugger() = default;
  // [offset, offset + length) of the area, whole blocks of which none is plugged. On an error nothing has
  // changed; kResourceExhausted when the host has no memory now.
  virtual Status Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) = 0;
  // Whole blocks, all of them plugged. On an error they stay plugged, unless only their pages could not be
  // given back.
  virtual Status Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) = 0;
};

}  // namespace berth::vmm
