#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/hotplug_plan.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/region_plan.h"
#include "vmm/memory/zone_backing.h"

namespace berth::vmm {

// The guest's RAM: maps each zone as it asks (anonymous, memfd, huge pages, file or directory), binds it to
// its host NUMA node, then prefaults it. Room for memory that can be added is reserved above it and takes
// nothing until it is plugged. Owns the mappings and descriptors.
class ZonedMemory {
 public:
  // `root`: where /sys and /proc are read for huge pages. Errors name the zone; huge pages that do not exist
  // are found before anything is mapped, and none of them can be missing afterwards.
  static Result<std::unique_ptr<ZonedMemory>> Create(const std::vector<MemoryZoneConfig>& zones,
                                                     HotplugMethod method = HotplugMethod::kAcpi,
                                                     const std::string& root = "/");
  ~ZonedMemory();
  ZonedMemory(const ZonedMemory&) = delete;
  ZonedMemory& operator=(const ZonedMemory&) = delete;

  const GuestMemory& memory() const { return memory_; }

 private:
  ZonedMemory() = default;
  // Maps one zone's regions and the area for its growth, if it has one.
  Status MapZone(const MemoryZoneConfig& zone, uint64_t page_size, const std::vector<RegionPlan>& pieces,
                 const HotplugArea* area);
  Status CheckAlone(const MemoryZoneConfig& zone, const ZoneBacking& backing);

  GuestMemory memory_;
  std::vector<UniqueFd> files_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> zone_of_file_;  // by device and inode
  std::vector<MemoryRegion> mapped_;                                   // RAM, in the order of the zones
  std::vector<MemoryRegion> hotplug_;                                  // areas
};

}  // namespace berth::vmm
