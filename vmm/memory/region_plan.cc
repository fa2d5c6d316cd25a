#include "vmm/memory/region_plan.h"

#include <algorithm>
#include <string>

#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kEndOfRam = uint64_t{1} << 52;  // the widest guest-physical address

}  // namespace

Result<std::vector<RegionPlan>> PlanRegions(const std::vector<MemoryZoneConfig>& zones,
                                            const std::vector<uint64_t>& page_sizes) {
  std::vector<RegionPlan> plan;
  uint64_t next = 0;
  for (size_t zone = 0; zone < zones.size(); zone++) {
    uint64_t left = zones[zone].size.bytes();
    const uint64_t page = page_sizes[zone];
    if (left == 0 || left % page != 0) {
      return InvalidArgument("size " + zones[zone].size.ToString() + " is not a multiple of the page size " +
                                 ByteSize(page).ToString(),
                             "memory-zone " + zones[zone].id + ".size");
    }
    if (next < layout::kLowRamEnd) {
      uint64_t low = std::min(left, (layout::kLowRamEnd - next) / page * page);
      if (low > 0) plan.push_back({zone, Gpa{next}, low});
      next += low;
      left -= low;
      if (left > 0 || next == layout::kLowRamEnd) next = layout::kHighRam;
    }
    if (left > kEndOfRam - next) {
      return OutOfRange("guest memory does not fit 52 address bits",
                        "memory-zone " + zones[zone].id + ".size");
    }
    if (left > 0) plan.push_back({zone, Gpa{next}, left});
    next += left;
  }
  return plan;
}

}  // namespace berth::vmm
