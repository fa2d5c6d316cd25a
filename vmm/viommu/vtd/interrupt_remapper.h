#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "vmm/bus/interrupts.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/vtd/spec.h"

namespace berth::vmm::vtd {

// Interrupt remapping (VT-d 5.1): messages of devices become what the guest's table says. Nothing of the
// table is kept: whoever routes a message by what came out asks again when the guest invalidates its entry.
// Thread-safe, and calls nobody but the fault handler.
class InterruptRemapper {
 public:
  using FaultHandler = std::function<void(uint16_t source, uint16_t index, Reason reason)>;
  // `extended`: the guest's local APICs can be told by 32-bit numbers (EIM). `memory` outlives it.
  InterruptRemapper(const GuestMemory& memory, bool extended, FaultHandler on_fault)
      : memory_(memory), extended_(extended), on_fault_(std::move(on_fault)) {}

  bool extended() const { return extended_; }
  // IRTA_REG as it was when the guest made the table the current one.
  void SetTable(uint64_t register_value);
  void SetEnabled(bool enabled);
  // Whether messages in the old format pass while remapping is on (CFI).
  void SetCompatibility(bool allowed);

  // The message that a local APIC gets for one of a device or of the IOAPIC (`source`: bus, slot and
  // function). None: the interrupt does not happen, and with `report` the guest is told. What is no interrupt
  // message at all comes back as it is.
  std::optional<MsiMessage> Remap(uint16_t source, const MsiMessage& message, bool report) const;

  // The entry that a message in remappable format names; none for the old format.
  static std::optional<uint32_t> IndexOf(const MsiMessage& message);

 private:
  struct State {
    bool enabled = false;
    bool compatibility = false;
    uint64_t table = 0;  // IRTA_REG
  };
  struct Outcome {
    std::optional<MsiMessage> message{};
    Reason reason = Reason::kNone;
    bool quiet = false;
  };
  Outcome Look(const State& state, uint16_t source, const MsiMessage& message) const;

  const GuestMemory& memory_;
  const bool extended_;
  const FaultHandler on_fault_;
  mutable std::mutex mutex_;  // guards what follows
  State state_;
};

// The source that the IOAPIC has in messages and in the ACPI tables: no place of a PCI function.
inline constexpr uint16_t kIoApicSource = 0xff00;

}  // namespace berth::vmm::vtd
