#pragma once

#include <linux/vfio.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"

// What the VMM asks of VFIO, as typed calls. LinuxVfio* are the only callers of its ioctls; FakeVfio enforces
// the same rules in memory.
namespace berth::vmm {

struct VfioArea {
  uint64_t offset = 0;  // in the region
  uint64_t size = 0;

  uint64_t end() const { return offset + size; }
  friend bool operator==(const VfioArea&, const VfioArea&) = default;
};

// Regions 0 to 5 are the BARs, then expansion ROM and configuration space.
struct VfioRegion {
  uint64_t size = 0;  // 0: there is none
  bool readable = false;
  bool writable = false;
  std::vector<VfioArea> mappable;  // what MapRegion may be called for, by offset
};

struct VfioIrqs {
  uint32_t count = 0;
  bool resizable = false;  // vectors can be added while others are in use
};

struct VfioDeviceInfo {
  static constexpr uint32_t kRegions = VFIO_PCI_VGA_REGION_INDEX;  // VGA is not used
  static constexpr uint32_t kIrqIndexes = VFIO_PCI_NUM_IRQS;

  bool can_reset = false;  // by itself: FLR or power management
  std::array<VfioRegion, kRegions> regions;
  std::array<VfioIrqs, kIrqIndexes> irqs;
};

// One open PCI function of the host. Thread-safe. Closing it resets the device.
class VfioDevice {
 public:
  virtual ~VfioDevice() = default;

  // "0000:21:10.0"
  virtual const std::string& address() const = 0;
  virtual const VfioDeviceInfo& info() const = 0;
  virtual Status ReadRegion(uint32_t region, uint64_t offset, std::span<uint8_t> data) = 0;
  virtual Status WriteRegion(uint32_t region, uint64_t offset, std::span<const uint8_t> data) = 0;
  // The device's own memory, for an area of VfioRegion::mappable or a part of whole pages. Valid as long as
  // the device.
  virtual Result<uint8_t*> MapRegion(uint32_t region, const VfioArea& area) = 0;
  // Vectors from `start` on signal these event descriptors (-1: nothing). The first call for an interrupt
  // index turns that kind on; INTx, MSI and MSI-X exclude each other (kInvalidArgument). Vectors beyond those
  // of the first call need irqs[].resizable.
  virtual Status SetTriggers(uint32_t irq_index, uint32_t start, std::span<const int> event_fds) = 0;
  virtual Status DisableIrqs(uint32_t irq_index) = 0;
  // INTx is masked by the kernel each time it fires.
  virtual Status UnmaskIntx() = 0;
  // kFailedPrecondition where the device cannot be reset by itself.
  virtual Status Reset() = 0;
  // For KvmVm::AddVfioFile: the device's own file, or the one of its group, which others may share.
  virtual int kvm_file() const = 0;
  virtual bool kvm_file_is_shared() const = 0;
};

}  // namespace berth::vmm
