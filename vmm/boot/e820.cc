#include "vmm/boot/e820.h"

#include <algorithm>

#include "vmm/bus/layout.h"

namespace berth::vmm {

std::vector<E820Entry> BuildE820(const GuestMemory& memory) {
  std::vector<E820Entry> map;
  auto add_ram = [&map](uint64_t begin, uint64_t end) {
    if (begin >= end) return;
    if (!map.empty() && map.back().base + map.back().size == begin) {
      map.back().size += end - begin;
    } else {
      map.push_back({begin, end - begin, E820Entry::kRam});
    }
  };
  for (const MemoryRegion& region : memory.regions()) {
    uint64_t begin = Raw(region.base), end = begin + region.size;
    add_ram(begin, std::min(end, layout::kEbda));
    add_ram(std::max(begin, layout::kHighRamInLowMap), end);
  }
  map.push_back({layout::kPciConfigBase, layout::kPciConfigSize, E820Entry::kReserved});
  std::sort(map.begin(), map.end(), [](const E820Entry& a, const E820Entry& b) { return a.base < b.base; });
  return map;
}

}  // namespace berth::vmm
