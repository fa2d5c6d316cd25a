#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/dma/fake_iommu.h"
#include "vmm/vfio/vfio_host.h"

namespace berth::vmm {

// A call of VfioDevice or VfioHost, for failure injection.
enum class VfioCall { kOpen, kRead, kWrite, kMap, kSetTriggers, kDisableIrqs, kUnmaskIntx, kReset };

// A PCI function without hardware, with the rules of vfio-pci: one kind of interrupt at a time, vectors fixed
// by the first call unless resizable, INTx masked each time it fires, mapped memory gone while the device
// does not decode. BAR memory is plain memory. Thread-safe.
class FakeVfioDevice final : public VfioDevice {
 public:
  struct Bar {
    uint32_t index = 0;
    uint64_t size = 0x1000;
    bool io = false;
    bool wide = false;
    std::vector<VfioArea> mappable = {};  // empty: all of it, when it has a page
  };
  struct Options {
    std::string address = "0000:21:10.0";
    std::vector<Bar> bars = {{.index = 0, .size = 0x4000}, {.index = 3, .size = 0x4000}};
    bool intx = false;
    uint32_t msi_vectors = 0;
    bool msi_maskable = true;
    uint32_t msix_vectors = 3;
    uint8_t msix_bar = 3;
    uint32_t msix_pba_offset = 0x2000;
    bool msix_resizable = false;
    bool can_reset = true;
    bool sriov = true;  // a hidden extended capability between two that are shown
  };

  explicit FakeVfioDevice(Options options);
  ~FakeVfioDevice() override;

  const std::string& address() const override { return options_.address; }
  const VfioDeviceInfo& info() const override { return info_; }
  Status ReadRegion(uint32_t region, uint64_t offset, std::span<uint8_t> data) override;
  Status WriteRegion(uint32_t region, uint64_t offset, std::span<const uint8_t> data) override;
  Result<uint8_t*> MapRegion(uint32_t region, const VfioArea& area) override;
  Status SetTriggers(uint32_t irq_index, uint32_t start, std::span<const int> event_fds) override;
  Status DisableIrqs(uint32_t irq_index) override;
  Status UnmaskIntx() override;
  Status Reset() override;
  int kvm_file() const override { return file_; }
  bool kvm_file_is_shared() const override { return false; }

  // As the device: raises an interrupt. False when nothing is set up for it.
  bool Fire(uint32_t irq_index, uint32_t vector);
  // The n-th (0: the next) such call fails once.
  void FailCall(VfioCall call, int error_number, uint32_t after = 0);

  uint8_t* bar_memory(uint32_t index) { return bars_.at(index); }
  uint16_t command();
  uint32_t resets();
  bool intx_masked();
  // How many vectors each interrupt index has now.
  std::map<uint32_t, size_t> irqs();
  // Bytes of the configuration space that were written, with their last value.
  std::map<uint32_t, uint8_t> config_writes();

 private:
  void BuildConfig();
  uint32_t AddCapability(uint8_t id, std::vector<uint8_t> body);
  Status Injected(VfioCall call, const char* what);  // mutex_ held

  const Options options_;
  VfioDeviceInfo info_;
  int file_ = -1;
  std::map<uint32_t, uint8_t*> bars_;
  std::mutex mutex_;  // guards what follows
  std::array<uint8_t, 4096> config_{};
  std::map<uint32_t, uint8_t> writes_;
  uint32_t next_capability_ = 0x40;
  uint32_t last_pointer_ = 0x34;
  std::map<uint32_t, std::vector<int>> triggers_;  // by irq index; own duplicates
  bool intx_masked_ = false;
  uint32_t resets_ = 0;
  std::map<VfioCall, std::pair<uint32_t, int>> failures_;
};

// Devices by address, and one FakeIommu for all.
class FakeVfioHost final : public VfioHost {
 public:
  explicit FakeVfioHost(FakeIommu iommu = FakeIommu()) : iommu_(std::move(iommu)) {}

  FakeVfioDevice& Add(FakeVfioDevice::Options options);
  std::string_view interface_name() const override { return "fake"; }
  Result<std::shared_ptr<VfioDevice>> Open(const std::string& address) override;
  void Release(const std::shared_ptr<VfioDevice>& device) override;
  Status ResetDevices() override;
  DmaEngine* dma() override { return engine_.get(); }

  FakeIommu& iommu() { return iommu_; }
  size_t open_devices() const { return open_.size(); }

 private:
  FakeIommu iommu_;
  std::map<std::string, std::shared_ptr<FakeVfioDevice>> devices_;
  std::vector<std::shared_ptr<VfioDevice>> open_;
  std::unique_ptr<DmaEngine> engine_;
};

}  // namespace berth::vmm
