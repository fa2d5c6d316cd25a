#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// What stands against a zone's `file`, by looks alone: one that is too short, or missing where it holds the
// only copy of the guest's memory, and what the host cannot do with its pages. The text names the zone.
std::vector<Status> ZoneFileErrors(const MemoryZoneConfig& zone);

// What the zone's file must have: the zone, and what can be added to it.
uint64_t ZoneFileSize(const MemoryZoneConfig& zone);

// The folder that a path lies in.
std::string FolderOfPath(const std::string& path);

// The size of huge pages where the path, or its folder when there is none yet, is on a hugetlbfs.
std::optional<uint64_t> HugePageSizeAt(const std::string& path);

}  // namespace berth::vmm
