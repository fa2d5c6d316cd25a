#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/vfio/vfio_host.h"

namespace berth::vmm {

enum class VfioInterface {
  kGroup,       // /dev/vfio/GROUP and a type1 container
  kDeviceFile,  // /dev/vfio/devices/vfioN and iommufd
};

// Device files and iommufd where this kernel has them for all of the devices, else groups. `root` is the
// directory that holds sys/ and dev/.
VfioInterface ChooseVfioInterface(const std::vector<std::string>& addresses, const std::string& root = "/");

// The kernel's VFIO. With `cut`, parts of a mapping can be unmapped (device files only).
Result<std::unique_ptr<VfioHost>> OpenLinuxVfio(VfioInterface interface, bool cut = false);

}  // namespace berth::vmm
