#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// The guest's RAM: maps each zone as it asks (anonymous, memfd, huge pages, file or directory), binds it to
// its host NUMA node, then prefaults it. Owns the mappings and descriptors.
class ZonedMemory {
 public:
  // `root`: where /sys and /proc are read for huge pages. Errors name the zone; huge pages that do not exist
  // are found before anything is mapped, and none of them can be missing afterwards.
  static Result<std::unique_ptr<ZonedMemory>> Create(const std::vector<MemoryZoneConfig>& zones,
                                                     const std::string& root = "/");
  ~ZonedMemory();
  ZonedMemory(const ZonedMemory&) = delete;
  ZonedMemory& operator=(const ZonedMemory&) = delete;

  const GuestMemory& memory() const { return memory_; }

 private:
  ZonedMemory() = default;

  GuestMemory memory_;
  std::vector<UniqueFd> files_;
  std::vector<MemoryRegion> mapped_;
};

}  // namespace berth::vmm
