#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/status.h"
#include "compute-agent/inventory/host_inventory.h"

namespace berth::agent {

// How many VFs a PF is to have (agent.yaml, `sriov`).
struct VfCount {
  PciAddress pf;
  uint32_t vfs = 0;
};

// Writes one file of sysfs, as WriteToFile does.
using SysfsWrite = std::function<Status(const std::string& path, std::string_view text)>;

struct CreatedVfs {
  bool changed = false;               // read the host again
  std::vector<std::string> warnings;  // a PF that is not there, that refuses, or that has other VFs
};

// Gives each PF its VFs. A PF that has them is left alone; one that has another number of them too, since the
// kernel would remove all its VFs, also those of running guests, before it makes others: that is told, never
// done. kInvalidArgument, all at once, field "sriov": a device that cannot have VFs, or not so many. `root`
// holds sys/.
Result<CreatedVfs> CreateVfs(const HostInventory& inventory, const std::vector<VfCount>& wanted,
                             const std::string& root, const SysfsWrite& write = WriteToFile);

}  // namespace berth::agent
