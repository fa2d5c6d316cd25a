#pragma once

#include "vmm/convert/converter.h"
#include "vmm/memory/memory_plugger.h"

namespace berth::vmm {

// Plugs memory of a confidential guest for its memory device: what is plugged is private, what is unplugged
// has memory on neither side, whatever the guest had shared of it. Thread-safe.
class PagePlugger final : public MemoryPlugger {
 public:
  // `converter` outlives it; its map has the areas as regions that begin unplugged.
  explicit PagePlugger(Converter& converter) : converter_(converter) {}

  Status Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) override;
  Status Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) override;

 private:
  Converter& converter_;
};

}  // namespace berth::vmm
