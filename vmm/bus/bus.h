#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>

#include "common/status.h"
#include "vmm/bus/device.h"

namespace berth::vmm {

// One address space (ports, or guest-physical MMIO) with devices in disjoint ranges. Thread-safe: vCPUs
// dispatch under a shared lock, insertion, removal and moves take it exclusively. Devices are kept alive by
// the bus while inserted.
class Bus {
 public:
  // Errors: kInvalidArgument (size 0 or wraps), kAlreadyExists (overlaps; the message names both).
  Status Insert(uint64_t base, uint64_t size, std::shared_ptr<BusDevice> device, std::string name);
  Status Remove(uint64_t base);
  // Moves a range atomically, for a BAR that the guest relocates. On error nothing has changed.
  Status Move(uint64_t old_base, uint64_t new_base);

  // False when no device owns the whole access; `data` is then filled with ones (reads), or dropped (writes).
  bool Read(uint64_t address, std::span<uint8_t> data);
  bool Write(uint64_t address, std::span<const uint8_t> data);

 private:
  struct Range {
    uint64_t size;
    std::shared_ptr<BusDevice> device;
    std::string name;
  };
  // The device and offset of an access, or nullptr.
  std::shared_ptr<BusDevice> Find(uint64_t address, uint64_t size, uint64_t& offset);
  Status CheckFree(uint64_t base, uint64_t size, const std::string& name) const;

  std::shared_mutex mutex_;  // guards ranges_
  std::map<uint64_t, Range> ranges_;
};

}  // namespace berth::vmm
