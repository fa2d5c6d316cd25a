#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// The MSI-X table and pending bits of one function (PCI 3.0, 6.8.2). While a vector is masked (its own bit,
// the function's mask, or MSI-X off) a trigger sets its pending bit, and unmasking delivers it. Thread-safe.
class Msix {
 public:
  static constexpr uint32_t kEntrySize = 16;
  static constexpr uint16_t kEnable = 1 << 15;  // of message control
  static constexpr uint16_t kFunctionMask = 1 << 14;

  // 1 to 2048 vectors, each with a route of its own; the error is the controller's.
  static Result<std::unique_ptr<Msix>> Create(MsiController& controller, uint16_t vectors);

  uint16_t vectors() const { return static_cast<uint16_t>(entries_.size()); }
  uint64_t table_size() const { return uint64_t{kEntrySize} * entries_.size(); }
  uint64_t pba_size() const { return (entries_.size() + 63) / 64 * 8; }

  // What follows the header of the capability with id 0x11, and which bits of it the guest may write; table
  // and pending bits lie in BAR `bar` at offsets that are multiples of 8.
  std::array<uint8_t, 10> CapabilityBody(uint8_t bar, uint32_t table_offset, uint32_t pba_offset) const;
  static std::array<uint8_t, 10> CapabilityWritable();
  // To be called after each write to the capability's message control.
  void SetControl(uint16_t message_control);

  // Accesses to the table and the pending bits; ranges outside read as zero. Writes take effect only as
  // aligned 4 or 8 bytes, all that PCI defines.
  void ReadTable(uint64_t offset, std::span<uint8_t> data);
  void WriteTable(uint64_t offset, std::span<const uint8_t> data);
  void ReadPba(uint64_t offset, std::span<uint8_t> data);

  // Raises a vector; one that does not exist does nothing.
  void Trigger(uint16_t vector);
  // Forgets all pending interrupts: the device was reset.
  void ClearPending();

  // Message control is the function's to save; SetControl after Load delivers what is pending.
  void Save(StateWriter& out);
  void Load(StateReader& in);

 private:
  struct Entry {
    std::unique_ptr<MsiRoute> route;
    std::array<uint32_t, 4> words = {0, 0, 0, 1};  // address, data, vector control: masked
    bool pending = false;
    bool route_current = false;  // the route has the entry's message
  };

  Msix() = default;
  bool Masked(const Entry& entry) const;
  void WriteWord(uint64_t offset, uint32_t value);
  // Delivers what is pending if nothing masks the entry any more.
  void Update(Entry& entry);
  static void Deliver(Entry& entry);

  std::mutex mutex_;  // guards what follows, but not the number of entries
  std::vector<Entry> entries_;
  uint16_t control_ = 0;
};

}  // namespace berth::vmm
