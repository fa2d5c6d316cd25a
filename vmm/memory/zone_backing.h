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
// directory; the file has room for the zone and for what can be added to it afterwards. An empty file gets
// its length here; what else stands against one is found before (ZoneFileErrors).
Result<ZoneBacking> OpenZoneBacking(const MemoryZoneConfig& zone, uint64_t page_size);

// Maps one piece of it and binds it to the zone's host node. The host address equals the guest's modulo the
// huge page size, so that the host can map it by huge pages. The caller owns the mapping.
// `reserve`: count it as used from now on (off for memory that is only plugged later).
Result<MemoryRegion> MapRegion(const MemoryZoneConfig& zone, const ZoneBacking& backing,
                               const RegionPlan& piece, uint64_t file_offset, bool reserve);

// Makes sure that the space exists, gives the advice and prefaults, as the zone asks. Huge pages are always
// prefaulted: a page that is missing later would be a SIGBUS. On error the file keeps what it has: it may be
// somebody's only copy.
Status FillRegion(const MemoryZoneConfig& zone, const MemoryRegion& region);

// The advice alone (dumps, merging, transparent huge pages), for memory that is filled later.
void AdviseRegion(const MemoryZoneConfig& zone, const MemoryRegion& region);

// Gives room in its file, and pages, to a part of a hot-plug area that is about to be plugged, where its zone
// wants that; huge pages always. On error the part may have some.
Status PopulatePlugged(const MemoryRegion& part);
// Takes the pages of a piece of RAM away; it reads as zeros (or as its private file's content) afterwards.
Status DiscardPages(const MemoryRegion& part);

}  // namespace berth::vmm
