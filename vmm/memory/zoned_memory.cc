#include "vmm/memory/zoned_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/memory/huge_pages.h"
#include "vmm/memory/zone_backing.h"
#include "vmm/memory/zone_file.h"

namespace berth::vmm {

Result<std::unique_ptr<ZonedMemory>> ZonedMemory::Create(const std::vector<MemoryZoneConfig>& zones,
                                                         HotplugMethod method, const std::string& root) {
  const HugePages huge_pages(root);
  TRY(huge_pages.Preflight(zones));
  std::vector<uint64_t> page_sizes;
  for (const MemoryZoneConfig& zone : zones) {
    if (std::vector<Status> errors = ZoneFileErrors(zone); !errors.empty()) return errors[0];
    TRY_ASSIGN(uint64_t page_size, huge_pages.PageSize(zone));
    page_sizes.push_back(page_size);
  }
  TRY_ASSIGN(std::vector<RegionPlan> plan, PlanRegions(zones, page_sizes));
  uint64_t ram_end = 0;
  for (const RegionPlan& piece : plan) ram_end = std::max(ram_end, Raw(piece.base) + piece.size);
  const std::vector<HotplugArea> areas = PlanHotplug(method, zones, page_sizes, ram_end);

  std::unique_ptr<ZonedMemory> self(new ZonedMemory());
  for (size_t i = 0; i < zones.size(); i++) {
    std::vector<RegionPlan> pieces;
    std::copy_if(plan.begin(), plan.end(), std::back_inserter(pieces),
                 [i](const RegionPlan& piece) { return piece.zone == i; });
    auto area = std::find_if(areas.begin(), areas.end(),
                             [&](const HotplugArea& candidate) { return candidate.zone == zones[i].id; });
    Status mapped = self->MapZone(zones[i], page_sizes[i], pieces, area == areas.end() ? nullptr : &*area);
    if (!mapped.ok()) return std::move(mapped).WithContext("memory zone " + zones[i].id);
  }
  self->memory_ = GuestMemory(self->mapped_, self->hotplug_);
  return self;
}

// Two zones in one file, by whatever names, would be the same memory twice.
Status ZonedMemory::CheckAlone(const MemoryZoneConfig& zone, const ZoneBacking& backing) {
  if (!zone.file) return OkStatus();
  struct stat info;
  if (::fstat(backing.file.get(), &info) < 0) return ErrnoStatus("stat " + *zone.file, errno);
  const auto [other, fresh] = zone_of_file_.try_emplace({info.st_dev, info.st_ino}, zone.id);
  if (fresh) return OkStatus();
  return InvalidArgument(*zone.file + " is the file of zone " + other->second + ", too", "file",
                         "each zone needs a file of its own");
}

Status ZonedMemory::MapZone(const MemoryZoneConfig& zone, uint64_t page_size,
                            const std::vector<RegionPlan>& pieces, const HotplugArea* area) {
  TRY_ASSIGN(ZoneBacking backing, OpenZoneBacking(zone, page_size));
  TRY(CheckAlone(zone, backing));
  uint64_t offset = 0;
  for (const RegionPlan& piece : pieces) {
    TRY_ASSIGN(MemoryRegion region, MapRegion(zone, backing, piece, offset, /*reserve=*/true));
    mapped_.push_back(region);
    TRY(FillRegion(zone, region));
    offset += piece.size;
  }
  if (area != nullptr) {
    if (area->size % area->block != 0) {
      return InvalidArgument("hotplug_size is not a multiple of " + ByteSize(area->block).ToString(),
                             "hotplug_size");
    }
    const RegionPlan piece{0, Gpa{area->base}, area->size};
    TRY_ASSIGN(MemoryRegion region, MapRegion(zone, backing, piece, offset, /*reserve=*/false));
    region.plug = std::make_shared<PlugMap>(area->size, area->block);
    hotplug_.push_back(region);
    AdviseRegion(zone, region);
  }
  if (backing.file.valid()) files_.push_back(std::move(backing.file));
  return OkStatus();
}

ZonedMemory::~ZonedMemory() {
  for (const MemoryRegion& region : mapped_) ::munmap(region.host, region.size);
  for (const MemoryRegion& area : hotplug_) ::munmap(area.host, area.size);
}

}  // namespace berth::vmm
