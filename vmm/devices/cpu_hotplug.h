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

// By these registers the guest learns which vCPUs came and which are to go, and gives them back (AML:
// vmm/acpi/hotplug_aml.cc). Insert at the platform area's kCpuHotplugOffset. Thread-safe.
//   0 (4 bytes) selected vCPU
//   4 (1 byte)  bit 0 enabled, 1 inserting, 2 removing; writing bit 1 or 2 clears it, writing bit 3 ejects
class CpuHotplug : public BusDevice {
 public:
  // `on_eject` runs on the vCPU thread that gave the vCPU back and must be short.
  CpuHotplug(uint32_t possible, uint32_t present, std::function<void(uint32_t vcpu)> on_eject);

  // The vCPU is there from now on, or the guest is asked to give it back; then notify the guest.
  void Insert(uint32_t vcpu);
  void RequestRemoval(uint32_t vcpu);
  // It is to stay after all, if the guest has not taken it out yet.
  void CancelRemoval(uint32_t vcpu);
  bool enabled(uint32_t vcpu) const;
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  struct State {
    bool enabled = false;
    bool inserting = false;
    bool removing = false;
  };

  const std::function<void(uint32_t)> on_eject_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<State> vcpus_;
  uint32_t selected_ = 0;
};

}  // namespace berth::vmm
