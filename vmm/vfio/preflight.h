#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_run.h"
#include "vmm/vfio/linux_vfio_host.h"
#include "vmm/vfio/vfio_sysfs.h"

namespace berth::vmm {

// What the VM wants of VFIO.
struct VfioDemand {
  std::vector<std::string> addresses;    // of the devices
  std::vector<IovaRange> ram;            // guest-physical, all of which devices reach
  uint64_t mappings = 0;                 // that a container needs at least
  uint32_t spaces = 1;                   // containers, each of which locks all of the RAM
  std::vector<std::string> alone = {};   // of `addresses`: those with a container of their own
  std::vector<std::string> others = {};  // devices that the VM has already
};

// Limits of this process.
struct LockLimits {
  uint64_t memlock_bytes = UINT64_MAX;  // RLIMIT_MEMLOCK, all ones when unlimited or CAP_IPC_LOCK is held
};
LockLimits ReadLockLimits();

// Fails before anything is opened or mapped when the devices cannot be assigned: not there, another driver, a
// group with devices of others, memory that may not be locked, too few mappings, guest RAM where the host's
// IOMMU cannot map. The message names the device, the limit and both figures.
Status CheckVfioHost(const VfioDemand& demand, VfioInterface interface, const VfioSysfs& sysfs,
                     const LockLimits& limits);

}  // namespace berth::vmm
