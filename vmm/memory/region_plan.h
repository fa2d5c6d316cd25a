#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// A piece of a zone that is contiguous in guest-physical memory.
struct RegionPlan {
  size_t zone = 0;  // index into the zones
  Gpa base{};
  uint64_t size = 0;

  friend bool operator==(const RegionPlan&, const RegionPlan&) = default;
};

// Lays the zones one after the other into [0, 3 GiB) and from 4 GiB on. A zone that does not fit below the
// hole is split there into whole pages of its own size; what follows it lies above. `page_sizes` are those of
// the zones, in bytes. kInvalidArgument when a size is no multiple of its page, kOutOfRange when the total
// does not fit the address space. Pure.
Result<std::vector<RegionPlan>> PlanRegions(const std::vector<MemoryZoneConfig>& zones,
                                            const std::vector<uint64_t>& page_sizes);

}  // namespace berth::vmm
