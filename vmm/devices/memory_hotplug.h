#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/bus/device.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// By these registers the guest learns of memory that was added by ACPI (AML: vmm/acpi/hotplug_aml.cc). Each
// piece takes a slot for good: memory that was added this way stays. Insert at the platform area's
// kMemoryHotplugOffset. Thread-safe.
//   0, 8, 16 (8 bytes each) base, size and last address of the selected slot's memory, 0 when it has none
//   24 (4 bytes) selected slot
//   28 (1 byte)  bit 0 enabled, 1 inserting; writing bit 1 clears it
class MemoryHotplug : public BusDevice {
 public:
  struct Piece {
    uint64_t base = 0;
    uint64_t size = 0;
  };
  // `present`: what an earlier boot has added; the guest finds it when it starts.
  MemoryHotplug(uint32_t slots, const std::vector<Piece>& present);

  // kResourceExhausted when all slots are taken.
  Status Insert(const Piece& piece);
  uint32_t free_slots() const;
  // Pieces that the guest has not looked at yet.
  uint32_t pending() const;
  // The pieces themselves are those that it was made with.
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  struct Slot {
    Piece piece;
    bool inserting = false;
  };

  const uint32_t count_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Slot> slots_;   // those in use
  uint32_t selected_ = 0;
};

}  // namespace berth::vmm
