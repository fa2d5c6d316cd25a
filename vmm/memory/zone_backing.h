#pragma once

#include <cstdint>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/region_plan.h"

namespace berth::vmm {

// What a zone's pages come from.
struct ZoneBacking {
  UniqueFd file;  // none: anonymous memory
  bool shared = false;
  bool reserve_space = false;  // the file may have holes that its file system cannot fill later
  uint64_t page_size = 4096;
};

// Anonymous memory, a memfd (shared or huge pages), the named file, or an unlinked file in the named
// directory; the file has the zone's size afterwards.
Result<ZoneBacking> OpenZoneBacking(const MemoryZoneConfig& zone, uint64_t page_size);

// Maps one piece of it and binds it to the zone's host node. The host address equals the guest's modulo the
// huge page size, so that the host can map it by huge pages. The caller owns the mapping.
Result<MemoryRegion> MapRegion(const MemoryZoneConfig& zone, const ZoneBacking& backing,
                               const RegionPlan& piece, uint64_t file_offset);

// Makes sure that the space exists, gives the advice and prefaults, as the zone asks. Huge pages are always
// prefaulted: a page that is missing later would be a SIGBUS.
Status FillRegion(const MemoryZoneConfig& zone, const ZoneBacking& backing, const MemoryRegion& region);

}  // namespace berth::vmm
