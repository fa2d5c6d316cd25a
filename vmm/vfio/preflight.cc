#include "vmm/vfio/preflight.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>
#include <utility>

#include "common/byte_size.h"
#include "common/file.h"
#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

// Drivers that the kernel knows to do no DMA for themselves.
bool Harmless(const std::string& driver) {
  return driver.empty() || driver == "pcieport" || driver == "pci-stub" ||
         driver.find("vfio") != std::string::npos;
}

Status CheckDevice(const std::string& address, const VfioSysfs& sysfs) {
  if (!sysfs.Exists(address)) return NotFound("there is no PCI device " + address, "device");
  if (!sysfs.BoundToVfio(address)) {
    const std::string driver = sysfs.Driver(address);
    return FailedPrecondition(
        "device " + address + " is " + (driver.empty() ? "bound to no driver" : "bound to " + driver),
        "device", "bind it to vfio-pci first");
  }
  TRY_ASSIGN(const uint32_t group, sysfs.Group(address));
  for (const std::string& member : sysfs.GroupMembers(group)) {
    const std::string driver = sysfs.Driver(member);
    if (Harmless(driver)) continue;
    std::string reason = "device " + address + " is in IOMMU group " + std::to_string(group);
    reason.append(" together with ").append(member).append(", which is bound to ").append(driver);
    return FailedPrecondition(std::move(reason), "device",
                              "bind all devices of the group to vfio-pci, or to no driver");
  }
  return OkStatus();
}

Status CheckAddresses(const std::string& address, const std::vector<IovaRange>& ram, const VfioSysfs& sysfs) {
  if (const auto width = sysfs.AddressWidth(address); width.has_value() && *width < 64) {
    for (const IovaRange& range : ram) {
      if (range.last >> *width == 0) continue;
      return OutOfRange("guest RAM reaches " + RangeText(range.first, range.last - range.first + 1) +
                            ", the IOMMU of " + address + " knows addresses of " + std::to_string(*width) +
                            " bits",
                        "device");
    }
  }
  TRY_ASSIGN(const uint32_t group, sysfs.Group(address));
  for (const VfioSysfs::Reserved& reserved : sysfs.ReservedRegions(group)) {
    if (reserved.type == "direct-relaxable") continue;
    for (const IovaRange& range : ram) {
      if (range.first > reserved.last || range.last < reserved.first) continue;
      return OutOfRange("guest RAM " + RangeText(range.first, range.last - range.first + 1) +
                            " covers addresses that the host keeps for device " + address + ": " +
                            RangeText(reserved.first, reserved.last - reserved.first + 1) + " (" +
                            reserved.type + ")",
                        "device");
    }
  }
  return OkStatus();
}

Status CheckLimits(const VfioDemand& demand, VfioInterface interface, const VfioSysfs& sysfs,
                   const LockLimits& limits) {
  uint64_t locked = 0;
  for (const IovaRange& range : demand.ram) locked += range.last - range.first + 1;
  locked *= demand.spaces;
  if (locked > limits.memlock_bytes) {
    return ResourceExhausted("devices need " + ByteSize(locked).ToHuman() +
                                 " of guest memory locked, RLIMIT_MEMLOCK allows " +
                                 ByteSize(limits.memlock_bytes).ToHuman(),
                             "device", "raise the limit (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK");
  }
  if (interface != VfioInterface::kGroup) return OkStatus();
  const auto entries = sysfs.DmaEntryLimit();
  if (entries.has_value() && demand.mappings > *entries) {
    return ResourceExhausted(
        "devices need at least " + std::to_string(demand.mappings) + " DMA mappings, the kernel allows " +
            std::to_string(*entries),
        "device", "raise vfio_iommu_type1.dma_entry_limit to at least " + std::to_string(demand.mappings));
  }
  return OkStatus();
}

// A group is in one address space as a whole.
Status CheckAlone(const VfioDemand& demand, const VfioSysfs& sysfs) {
  for (const std::string& address : demand.alone) {
    TRY_ASSIGN(const uint32_t group, sysfs.Group(address));
    for (const auto* list : {&demand.addresses, &demand.others}) {
      for (const std::string& other : *list) {
        if (other == address) continue;
        TRY_ASSIGN(const uint32_t its_group, sysfs.Group(other));
        if (its_group != group) continue;
        std::string reason = "device " + address + " is in IOMMU group " + std::to_string(group);
        reason.append(" together with ")
            .append(other)
            .append(": only alone can it be behind a virtual IOMMU");
        return FailedPrecondition(std::move(reason), "device", "give neither of them iommu=on");
      }
    }
  }
  return OkStatus();
}

}  // namespace

LockLimits ReadLockLimits() {
  LockLimits limits;
  constexpr uint64_t kIpcLock = uint64_t{1} << 14;
  if (Result<std::string> status = ReadFile("/proc/self/status"); status.has_value()) {
    const size_t at = status->find("CapEff:\t");
    uint64_t capabilities = 0;
    if (at != std::string::npos) {
      std::from_chars(status->data() + at + 8, status->data() + status->size(), capabilities, 16);
    }
    if (capabilities & kIpcLock) return limits;
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    limits.memlock_bytes = limit.rlim_cur;
  }
  return limits;
}

Status CheckVfioHost(const VfioDemand& demand, VfioInterface interface, const VfioSysfs& sysfs,
                     const LockLimits& limits) {
  std::set<std::string> seen;
  for (const std::string& address : demand.addresses) {
    if (!seen.insert(address).second) {
      return InvalidArgument("device " + address + " is given twice", "device");
    }
    TRY(CheckDevice(address, sysfs));
    TRY(CheckAddresses(address, demand.ram, sysfs));
  }
  TRY(CheckAlone(demand, sysfs));
  return CheckLimits(demand, interface, sysfs, limits);
}

}  // namespace berth::vmm
