#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/config/vm_config.h"

namespace berth::vmm {

// The guest-physical area of memory that can be added to a zone while the guest runs.
struct HotplugArea {
  std::string zone;
  uint64_t base = 0;
  uint64_t size = 0;
  uint64_t block = 0;    // the smallest piece that comes or goes
  uint64_t plugged = 0;  // at boot

  friend bool operator==(const HotplugArea&, const HotplugArea&) = default;
};

// Guests add memory in sections of this size and start areas on such a boundary.
inline constexpr uint64_t kHotplugAlignment = uint64_t{128} << 20;
// Smallest piece of virtio-mem: what a host maps as a whole.
inline constexpr uint64_t kVirtioMemBlock = uint64_t{2} << 20;

// Pieces in which a zone grows and shrinks: whole sections by ACPI, blocks of at least a page by virtio-mem.
uint64_t HotplugBlock(HotplugMethod method, uint64_t page_size);

// Lays the areas one behind the other above RAM that ends at `ram_end`. `page_sizes` belong to the zones.
// Pure.
std::vector<HotplugArea> PlanHotplug(HotplugMethod method, const std::vector<MemoryZoneConfig>& zones,
                                     const std::vector<uint64_t>& page_sizes, uint64_t ram_end);

}  // namespace berth::vmm
