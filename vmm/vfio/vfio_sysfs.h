#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// What sysfs tells of devices that are to be assigned. `root` is the directory that holds sys/ ("/" or a
// test's tree).
class VfioSysfs {
 public:
  struct Reserved {
    uint64_t first = 0;
    uint64_t last = 0;
    std::string type;  // "direct", "reserved", "msi", "direct-relaxable"
  };

  explicit VfioSysfs(std::string root = "/");
  const std::string& root() const { return root_; }  // without a slash at its end

  bool Exists(const std::string& address) const;
  // The bound driver; empty: none.
  std::string Driver(const std::string& address) const;
  // kFailedPrecondition when the device is in no IOMMU group.
  Result<uint32_t> Group(const std::string& address) const;
  // Addresses of all devices of a group.
  std::vector<std::string> GroupMembers(uint32_t group) const;
  // Addresses that the host keeps for itself in the I/O address space of the group.
  std::vector<Reserved> ReservedRegions(uint32_t group) const;
  // "vfio3", as in /dev/vfio/devices; kNotFound when this kernel has no device files.
  Result<std::string> DeviceFile(const std::string& address) const;
  // A device that VFIO can hand out: its driver has registered it.
  bool BoundToVfio(const std::string& address) const;
  // Bits of an I/O virtual address, where the IOMMU's driver says so (Intel).
  std::optional<uint32_t> AddressWidth(const std::string& address) const;
  // vfio_iommu_type1's parameter.
  std::optional<uint64_t> DmaEntryLimit() const;

 private:
  std::string Device(const std::string& address) const { return root_ + "/sys/bus/pci/devices/" + address; }

  std::string root_;
};

}  // namespace berth::vmm
