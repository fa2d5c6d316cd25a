#include "compute-agent/sriov/vf_creator.h"

#include <algorithm>

namespace berth::agent {
namespace {

const PciDeviceInfo* Find(const HostInventory& inventory, const PciAddress& address) {
  auto found = std::find_if(inventory.pci_devices.begin(), inventory.pci_devices.end(),
                            [&](const PciDeviceInfo& device) { return device.address == address; });
  return found == inventory.pci_devices.end() ? nullptr : &*found;
}

// Everything that cannot be, so that nothing is begun before the whole is right.
Status Check(const HostInventory& inventory, const std::vector<VfCount>& wanted) {
  std::string errors;
  for (const VfCount& count : wanted) {
    const PciDeviceInfo* device = Find(inventory, count.pf);
    if (device == nullptr) continue;
    std::string name = count.pf.ToString();
    if (device->type != placement::DeviceType::kPf) {
      errors += (errors.empty() ? "" : "; ") + name + " cannot have VFs, it is of " +
                placement::DeviceTypeName(device->type);
    } else if (count.vfs > device->sriov_total_vfs) {
      errors += (errors.empty() ? "" : "; ") + name + " can have " + std::to_string(device->sriov_total_vfs) +
                " VFs, " + std::to_string(count.vfs) + " are configured";
    }
  }
  return errors.empty() ? OkStatus() : InvalidArgument(errors, "sriov");
}

}  // namespace

Result<CreatedVfs> CreateVfs(const HostInventory& inventory, const std::vector<VfCount>& wanted,
                             const std::string& root, const SysfsWrite& write) {
  TRY(Check(inventory, wanted));
  CreatedVfs created;
  for (const VfCount& count : wanted) {
    std::string name = "sriov: " + count.pf.ToString();
    const PciDeviceInfo* device = Find(inventory, count.pf);
    if (device == nullptr) {
      created.warnings.push_back(name + " is not there");
      continue;
    }
    if (device->sriov_num_vfs == count.vfs) continue;
    std::string path = root + "/sys/bus/pci/devices/" + count.pf.ToString() + "/sriov_numvfs";
    if (device->sriov_num_vfs != 0) {
      created.warnings.push_back(
          name + " has " + std::to_string(device->sriov_num_vfs) + " VFs, " + std::to_string(count.vfs) +
          " are configured: not changed, since that removes the VFs that are there. When "
          "no guest uses them: echo 0 > " +
          path + ", then start the agent again");
      continue;
    }
    Status written = write(path, std::to_string(count.vfs));
    if (written.ok()) {
      created.changed = true;
    } else {
      created.warnings.push_back(name + ": its driver makes no VFs: " + written.message());
    }
  }
  return created;
}

}  // namespace berth::agent
