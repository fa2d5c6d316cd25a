#pragma once

#include <cstdint>
#include <span>

namespace berth::vmm {

// A device reached by port I/O or MMIO. `offset` counts from the base of the range that the device was
// inserted at; offset + data.size() never leaves the range. data.size() is 1, 2, 4 or 8. Called on vCPU
// threads, possibly several at once: a device locks for itself. Everything in `data` comes from the guest and
// is not to be trusted.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  // Fills all of `data`; a register that does not exist reads as all ones or zero as the device's
  // specification says.
  virtual void Read(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void Write(uint64_t offset, std::span<const uint8_t> data) = 0;
};

}  // namespace berth::vmm
