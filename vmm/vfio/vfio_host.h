#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// The devices of one VM and the I/O address space that they share. Thread-compatible.
class VfioHost {
 public:
  virtual ~VfioHost() = default;
  // "group" or "device file"
  virtual std::string_view interface_name() const = 0;
  // `address` as in "0000:21:10.0". The device has joined the address space, and nothing is mapped for it yet
  // but what is mapped for all.
  virtual Result<std::shared_ptr<VfioDevice>> Open(const std::string& address) = 0;
  // Forgets a device that was opened; it is closed, and thereby reset, when nobody holds it any more, and its
  // IOMMU group with the last device in it. With the last device of all the address space is gone: whoever
  // wants another then needs a new host.
  virtual void Release(const std::shared_ptr<VfioDevice>& device) = 0;
  // Resets all devices that are open: each by itself where it can, else by its bus, for which everything on
  // the bus must be ours. kFailedPrecondition names who cannot be reset and why.
  virtual Status ResetDevices() = 0;
  // nullptr before the first device was opened: a container without a device has no IOMMU.
  virtual DmaEngine* dma() = 0;
};

}  // namespace berth::vmm
