#include "vmm/vfio/linux_vfio_host.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "common/unique_fd.h"
#include "vmm/dma/iommufd_abi.h"
#include "vmm/dma/iommufd_backend.h"
#include "vmm/dma/type1_backend.h"
#include "vmm/vfio/linux_vfio_device.h"
#include "vmm/vfio/vfio_sysfs.h"

namespace berth::vmm {
namespace {

Result<UniqueFd> OpenDevice(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.valid()) return fd;
  const int error = errno;
  Status status = ErrnoStatus("open " + path, error);
  if (error == EBUSY) return std::move(status).WithHint("another process uses the device or its group");
  if (error == EACCES) return std::move(status).WithHint("the user must be allowed to use the device");
  return status;
}

// Common to both interfaces: who is open, and resets.
class LinuxVfioHost : public VfioHost {
 public:
  DmaEngine* dma() override { return engine_.get(); }

  Result<std::shared_ptr<VfioDevice>> Open(const std::string& address) override {
    Result<std::shared_ptr<LinuxVfioDevice>> device = OpenOne(address);
    if (!device.has_value()) return std::move(device).error().WithContext("device " + address);
    devices_.push_back(*device);
    return std::shared_ptr<VfioDevice>(*device);
  }

  void Release(const std::shared_ptr<VfioDevice>& device) override {
    std::erase_if(devices_, [&](const auto& known) { return known == device; });
  }

  Status ResetDevices() override {
    std::set<std::string> done;
    Status first;  // error: the others are reset all the same
    for (const auto& device : devices_) {
      if (done.contains(device->address())) continue;
      Status alone = device->Reset();
      if (alone.ok()) continue;
      Status by_bus = ResetByBus(*device, alone, done);
      if (first.ok()) first = std::move(by_bus);
    }
    return first;
  }

 protected:
  virtual Result<std::shared_ptr<LinuxVfioDevice>> OpenOne(const std::string& address) = 0;
  // Descriptors that prove the ownership of these IOMMU groups; an error names the one that is not ours.
  virtual Result<std::vector<int>> ProveOwnership(const std::set<uint32_t>& groups) = 0;

  std::unique_ptr<DmaEngine> engine_;

 private:
  Status ResetByBus(LinuxVfioDevice& device, const Status& alone, std::set<std::string>& done) {
    TRY_ASSIGN(const auto neighbours, device.BusNeighbours());
    std::set<uint32_t> groups;
    for (const auto& neighbour : neighbours) groups.insert(neighbour.group);
    Result<std::vector<int>> proof = ProveOwnership(groups);
    Status status = proof.has_value() ? device.ResetBus(*proof) : proof.error();
    if (!status.ok()) {
      std::string names;
      for (const auto& neighbour : neighbours) names += (names.empty() ? "" : ", ") + neighbour.address;
      return FailedPrecondition(device.address() + " can be reset neither by itself (" + alone.message() +
                                    ") nor with its bus (" + status.message() + ")",
                                "device", "a reset of the bus needs all of: " + names);
    }
    for (const auto& neighbour : neighbours) done.insert(neighbour.address);
    return OkStatus();
  }

  std::vector<std::shared_ptr<LinuxVfioDevice>> devices_;
};

class GroupHost final : public LinuxVfioHost {
 public:
  explicit GroupHost(UniqueFd container) : container_(std::move(container)) {}
  std::string_view interface_name() const override { return "group"; }

 private:
  Result<std::shared_ptr<LinuxVfioDevice>> OpenOne(const std::string& address) override {
    TRY_ASSIGN(const uint32_t number, VfioSysfs().Group(address));
    TRY_ASSIGN(auto group, OpenGroup(number));
    UniqueFd fd(::ioctl(group->get(), VFIO_GROUP_GET_DEVICE_FD, address.c_str()));
    if (!fd.valid()) return ErrnoStatus("VFIO_GROUP_GET_DEVICE_FD", errno);
    return LinuxVfioDevice::Create(std::move(fd), address, std::move(group));
  }

  Result<std::shared_ptr<const UniqueFd>> OpenGroup(uint32_t number) {
    if (auto known = groups_[number].lock()) return known;
    TRY_ASSIGN(UniqueFd group, OpenDevice("/dev/vfio/" + std::to_string(number)));
    vfio_group_status status{};
    status.argsz = sizeof status;
    if (::ioctl(group.get(), VFIO_GROUP_GET_STATUS, &status) < 0) {
      return ErrnoStatus("VFIO_GROUP_GET_STATUS", errno);
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
      return FailedPrecondition("IOMMU group " + std::to_string(number) + " is not viable", "device",
                                "all of its devices must be bound to vfio-pci or to no driver");
    }
    const int container = container_.get();
    if (::ioctl(group.get(), VFIO_GROUP_SET_CONTAINER, &container) < 0) {
      return ErrnoStatus("VFIO_GROUP_SET_CONTAINER", errno);
    }
    if (engine_ == nullptr) {
      if (::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        return ErrnoStatus("VFIO_SET_IOMMU type1", errno);
      }
      UniqueFd shared(::fcntl(container, F_DUPFD_CLOEXEC, 0));
      if (!shared.valid()) return ErrnoStatus("duplicate the container's descriptor", errno);
      engine_ = std::make_unique<DmaEngine>(MakeType1Backend(std::move(shared)));
    }
    auto opened = std::make_shared<const UniqueFd>(std::move(group));
    groups_[number] = opened;
    return opened;
  }

  Result<std::vector<int>> ProveOwnership(const std::set<uint32_t>& groups) override {
    std::vector<int> proof;
    for (uint32_t group : groups) {
      auto known = groups_.find(group);
      const auto opened = known == groups_.end() ? nullptr : known->second.lock();
      if (opened == nullptr) {
        return FailedPrecondition("IOMMU group " + std::to_string(group) + " does not belong to this VM");
      }
      proof.push_back(opened->get());  // stays open: its devices are
    }
    return proof;
  }

  const UniqueFd container_;
  std::map<uint32_t, std::weak_ptr<const UniqueFd>> groups_;  // by number; held by their devices
};

class DeviceFileHost final : public LinuxVfioHost {
 public:
  DeviceFileHost(UniqueFd iommufd, IommufdSpace space) : iommufd_(std::move(iommufd)), ioas_(space.ioas_id) {
    engine_ = std::make_unique<DmaEngine>(std::move(space.backend));
  }
  std::string_view interface_name() const override { return "device file"; }

 private:
  Result<std::shared_ptr<LinuxVfioDevice>> OpenOne(const std::string& address) override {
    TRY_ASSIGN(const std::string name, VfioSysfs().DeviceFile(address));
    TRY_ASSIGN(UniqueFd fd, OpenDevice("/dev/vfio/devices/" + name));
    abi::VfioDeviceBindIommufd bind{};
    bind.argsz = sizeof bind;
    bind.iommufd = iommufd_.get();
    if (::ioctl(fd.get(), abi::kVfioDeviceBindIommufd, &bind) < 0) {
      return ErrnoStatus("VFIO_DEVICE_BIND_IOMMUFD", errno);
    }
    abi::VfioDeviceAttachIommufdPt attach{};
    attach.argsz = sizeof attach;
    attach.pt_id = ioas_;
    if (::ioctl(fd.get(), abi::kVfioDeviceAttachIommufdPt, &attach) < 0) {
      return ErrnoStatus("VFIO_DEVICE_ATTACH_IOMMUFD_PT", errno);
    }
    return LinuxVfioDevice::Create(std::move(fd), address, nullptr);
  }

  Result<std::vector<int>> ProveOwnership(const std::set<uint32_t>&) override { return std::vector<int>(); }

  const UniqueFd iommufd_;
  const uint32_t ioas_;
};

}  // namespace

VfioInterface ChooseVfioInterface(const std::vector<std::string>& addresses, const std::string& root) {
  const VfioSysfs sysfs(root);
  std::error_code error;
  if (!std::filesystem::exists(sysfs.root() + "/dev/iommu", error)) return VfioInterface::kGroup;
  for (const std::string& address : addresses) {
    Result<std::string> name = sysfs.DeviceFile(address);
    if (!name.has_value()) return VfioInterface::kGroup;
    if (!std::filesystem::exists(sysfs.root() + "/dev/vfio/devices/" + *name, error)) {
      return VfioInterface::kGroup;
    }
  }
  return VfioInterface::kDeviceFile;
}

Result<std::unique_ptr<VfioHost>> OpenLinuxVfio(VfioInterface interface, bool cut) {
  if (interface == VfioInterface::kDeviceFile) {
    TRY_ASSIGN(UniqueFd iommufd, OpenDevice("/dev/iommu"));
    TRY_ASSIGN(IommufdSpace space, MakeIommufdSpace(iommufd.get(), cut));
    return std::unique_ptr<VfioHost>(std::make_unique<DeviceFileHost>(std::move(iommufd), std::move(space)));
  }
  TRY_ASSIGN(UniqueFd container, OpenDevice("/dev/vfio/vfio"));
  if (::ioctl(container.get(), VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
      ::ioctl(container.get(), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) {
    return FailedPrecondition("the kernel's VFIO has no type1 IOMMU", "device",
                              "load vfio_iommu_type1; the IOMMU must be on");
  }
  return std::unique_ptr<VfioHost>(std::make_unique<GroupHost>(std::move(container)));
}

}  // namespace berth::vmm
