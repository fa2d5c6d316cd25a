#include "vmm/config/hotplug_plan.h"

#include <algorithm>

#include "vmm/bus/layout.h"

namespace berth::vmm {

uint64_t HotplugBlock(HotplugMethod method, uint64_t page_size) {
  const uint64_t least = method == HotplugMethod::kAcpi ? kHotplugAlignment : kVirtioMemBlock;
  return std::max(least, page_size);
}

std::vector<HotplugArea> PlanHotplug(HotplugMethod method, const std::vector<MemoryZoneConfig>& zones,
                                     const std::vector<uint64_t>& page_sizes, uint64_t ram_end) {
  std::vector<HotplugArea> areas;
  uint64_t next = std::max(ram_end, layout::kHighRam);
  for (size_t i = 0; i < zones.size(); ++i) {
    const MemoryZoneConfig& zone = zones[i];
    if (!zone.hotplug_size) continue;
    const uint64_t alignment = std::max(kHotplugAlignment, page_sizes[i]);
    next = (next + alignment - 1) / alignment * alignment;
    areas.push_back({zone.id, next, zone.hotplug_size->bytes(), HotplugBlock(method, page_sizes[i]),
                     zone.hotplugged_size.value_or(ByteSize()).bytes()});
    next += areas.back().size;
  }
  return areas;
}

}  // namespace berth::vmm
