#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "vmm/bus/device.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// By these registers the guest learns which PCI slots were filled and which are to be emptied, and gives
// slots back (AML: vmm/acpi/hotplug_aml.cc). Insert at the platform area's kPciHotplugOffset. Thread-safe.
//   0, 4 (4 bytes each) slots of the selected segment that were filled, that are to be emptied; a read clears
//   8 (4 bytes)  writing bit N ejects slot N
//   12 (4 bytes) selected segment
class PciHotplug : public BusDevice {
 public:
  // `on_eject` runs on the vCPU thread that gave the slot back.
  PciHotplug(uint32_t segments, std::function<void(uint32_t segment, uint32_t slot)> on_eject)
      : on_eject_(std::move(on_eject)), segments_(segments) {}

  // To be followed by a notification of the guest.
  void Insert(uint32_t segment, uint32_t slot);
  void RequestRemoval(uint32_t segment, uint32_t slot);
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  struct Pending {
    uint32_t up = 0;
    uint32_t down = 0;
  };

  const std::function<void(uint32_t, uint32_t)> on_eject_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Pending> segments_;
  uint32_t selected_ = 0;
};

}  // namespace berth::vmm
