#pragma once

#include <cstdint>
#include <functional>

#include "vmm/bus/interrupts.h"

namespace berth::vmm::vtd {

// One of the unit's own interrupts with its four registers (control, data, address, upper address;
// VT-d 11.4.9 and up). It is not remapped. Thread-compatible.
class Event {
 public:
  using Deliver = std::function<void(const MsiMessage&)>;
  explicit Event(Deliver deliver) : deliver_(std::move(deliver)) {}

  // A condition that was not there has come: now, or when the mask goes.
  void Raise() {
    if ((control & kMasked) != 0) {
      control |= kPending;
      return;
    }
    control &= ~kPending;
    deliver_({address | uint64_t{upper} << 32, data});
  }
  // Software has taken all conditions away.
  void Clear() { control &= ~kPending; }
  void WriteControl(uint32_t value) {
    control = (value & kMasked) | (control & kPending);
    if ((control & (kMasked | kPending)) == kPending) Raise();
  }

  static constexpr uint32_t kMasked = 1u << 31;   // IM
  static constexpr uint32_t kPending = 1u << 30;  // IP
  uint32_t control = kMasked;
  uint32_t data = 0;
  uint32_t address = 0;
  uint32_t upper = 0;

 private:
  const Deliver deliver_;
};

}  // namespace berth::vmm::vtd
