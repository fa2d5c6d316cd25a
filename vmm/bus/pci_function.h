#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "vmm/bus/device.h"
#include "vmm/bus/pci_config.h"
#include "vmm/state/stateful.h"

namespace berth::vmm {

// A device in a slot of a PciSegment. ReadConfig, WriteConfig, config and BarMoved are called with the
// segment's lock held, one at a time; they must not access the MMIO bus.
class PciFunction {
 public:
  virtual ~PciFunction() = default;

  virtual PciConfigSpace& config() = 0;
  virtual void ReadConfig(uint32_t offset, std::span<uint8_t> data) = 0;
  virtual void WriteConfig(uint32_t offset, std::span<const uint8_t> data) = 0;
  // What answers accesses to a BAR that config() declares; the offset counts from the BAR's start.
  virtual std::shared_ptr<BusDevice> BarDevice(uint32_t index) = 0;
  // The BAR is decoded at `base` from now on, or no longer.
  virtual void BarMoved(uint32_t index, std::optional<uint64_t> base) = 0;
  // Its state, or null when that cannot be taken (as of a device of the host). Save and Load are called with
  // the segment's lock held.
  virtual Stateful* stateful() { return nullptr; }
};

}  // namespace berth::vmm
