#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compute-agent/inventory/root.h"

namespace berth::agent {

// A slot for memory, as SMBIOS type 17 describes it.
struct DimmSlot {
  std::string locator;  // as printed on the board: "DIMM000 J5"
  bool filled = false;

  friend bool operator==(const DimmSlot&, const DimmSlot&) = default;
};

// Settings that no inventory needs, but guests and devices.
struct HostSettings {
  std::optional<uint64_t> memlock_bytes;    // soft limit of this process; UINT64_MAX: unlimited
  std::optional<uint64_t> dma_entry_limit;  // of vfio_iommu_type1; empty: not loaded
  std::vector<DimmSlot> dimms;              // empty: not told (only root may read them)
  std::vector<std::string> warnings;
};

HostSettings ReadHostSettings(const Root& root);

// A raw SMBIOS type 17 structure with its strings. kInvalidArgument: not one, or cut off.
Result<DimmSlot> ParseDimmSlot(std::string_view raw);
// The soft limit of "Max locked memory" in /proc/PID/limits.
Result<uint64_t> ParseMemlock(std::string_view limits);

}  // namespace berth::agent
