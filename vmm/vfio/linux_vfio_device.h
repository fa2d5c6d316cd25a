#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// A VFIO device descriptor of the kernel.
class LinuxVfioDevice final : public VfioDevice {
 public:
  // A function that resets together with the device when its bus is reset.
  struct BusNeighbour {
    std::string address;
    uint32_t group = 0;  // IOMMU group
  };

  // `group`: its IOMMU group, open as long as one of its devices is; none with the interface of device files.
  static Result<std::shared_ptr<LinuxVfioDevice>> Create(UniqueFd fd, std::string address,
                                                         std::shared_ptr<const UniqueFd> group);
  ~LinuxVfioDevice() override;

  const std::string& address() const override { return address_; }
  const VfioDeviceInfo& info() const override { return info_; }
  Status ReadRegion(uint32_t region, uint64_t offset, std::span<uint8_t> data) override;
  Status WriteRegion(uint32_t region, uint64_t offset, std::span<const uint8_t> data) override;
  Result<uint8_t*> MapRegion(uint32_t region, const VfioArea& area) override;
  Status SetTriggers(uint32_t irq_index, uint32_t start, std::span<const int> event_fds) override;
  Status DisableIrqs(uint32_t irq_index) override;
  Status UnmaskIntx() override;
  Status Reset() override;
  int kvm_file() const override { return group_ == nullptr ? fd_.get() : group_->get(); }
  bool kvm_file_is_shared() const override { return group_.use_count() > 1; }

  // Everything that a reset of the bus would reset, this function included.
  Result<std::vector<BusNeighbour>> BusNeighbours();
  // The kernel wants proof that all of them are ours: the descriptors of their groups, or none for device
  // files (the iommufd proves it).
  Status ResetBus(const std::vector<int>& groups);

 private:
  LinuxVfioDevice(UniqueFd fd, std::string address, std::shared_ptr<const UniqueFd> group)
      : group_(std::move(group)), fd_(std::move(fd)), address_(std::move(address)) {}
  Status QueryRegion(uint32_t index);
  Status QueryIrqs(uint32_t index);
  Status SetIrqs(uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
                 std::span<const int> event_fds);

  const std::shared_ptr<const UniqueFd> group_;  // closed behind the device
  const UniqueFd fd_;
  const std::string address_;
  VfioDeviceInfo info_;
  std::array<uint64_t, VfioDeviceInfo::kRegions> file_offsets_{};
  std::mutex mutex_;  // guards mappings_
  std::map<std::pair<uint32_t, uint64_t>, std::pair<uint8_t*, uint64_t>> mappings_;
};

}  // namespace berth::vmm
