#include "vmm/memory/zoned_memory.h"

#include <sys/mman.h>

#include <utility>

#include "vmm/memory/huge_pages.h"
#include "vmm/memory/prefault.h"
#include "vmm/memory/region_plan.h"
#include "vmm/memory/zone_backing.h"

namespace berth::vmm {
namespace {

Result<uint64_t> PageSize(const MemoryZoneConfig& zone, const HugePages& huge_pages) {
  if (!zone.hugepages) return uint64_t{4096};
  if (zone.hugepage_size.has_value()) return zone.hugepage_size->bytes();
  return huge_pages.DefaultSize();
}

}  // namespace

Result<std::unique_ptr<ZonedMemory>> ZonedMemory::Create(const std::vector<MemoryZoneConfig>& zones,
                                                         const std::string& root) {
  const HugePages huge_pages(root);
  TRY(huge_pages.Preflight(zones));
  std::vector<uint64_t> page_sizes;
  for (const MemoryZoneConfig& zone : zones) {
    TRY_ASSIGN(uint64_t page_size, PageSize(zone, huge_pages));
    page_sizes.push_back(page_size);
  }
  TRY_ASSIGN(std::vector<RegionPlan> plan, PlanRegions(zones, page_sizes));

  std::unique_ptr<ZonedMemory> self(new ZonedMemory());
  for (size_t i = 0; i < zones.size(); i++) {
    const std::string where = "memory zone " + zones[i].id;
    Result<ZoneBacking> backing = OpenZoneBacking(zones[i], page_sizes[i]);
    if (!backing.has_value()) return std::move(backing).error().WithContext(where);
    uint64_t offset = 0;
    for (const RegionPlan& piece : plan) {
      if (piece.zone != i) continue;
      Result<MemoryRegion> region = MapRegion(zones[i], *backing, piece, offset);
      if (!region.has_value()) return std::move(region).error().WithContext(where);
      self->mapped_.push_back(*region);
      if (Status status = FillRegion(zones[i], *backing, *region); !status.ok()) {
        return std::move(status).WithContext(where);
      }
      offset += piece.size;
    }
    if (backing->file.valid()) self->files_.push_back(std::move(backing->file));
  }
  self->memory_ = GuestMemory(self->mapped_);
  return self;
}

ZonedMemory::~ZonedMemory() {
  for (const MemoryRegion& region : mapped_) ::munmap(region.host, region.size);
}

}  // namespace berth::vmm
