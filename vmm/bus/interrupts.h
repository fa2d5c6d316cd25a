#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"

namespace berth::vmm {

// A level-triggered or edge-triggered pin of the IOAPIC. Thread-safe.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void SetLevel(bool high) = 0;
  // A rising edge: high, then low.
  void Pulse() {
    SetLevel(true);
    SetLevel(false);
  }
};

// What a device writes to raise a message-signalled interrupt (PCI 3.0, 6.8).
struct MsiMessage {
  uint64_t address = 0;
  uint32_t data = 0;

  friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

// To one processor, physically addressed. What 8 bits of destination cannot hold is where KVM wants it
// (KVM_X2APIC_API_USE_32BIT_IDS, Documentation/virt/kvm/api.rst). `data`: vector and delivery mode.
constexpr MsiMessage MessageTo(uint32_t apic_id, uint32_t data) {
  const uint64_t id = apic_id;
  return {0xfee00000 | (id & 0xff) << 12 | (id >> 8) << 40, data};
}

// One interrupt source with its own GSI route and irqfd. Thread-safe. Destroying it frees the route.
class MsiRoute {
 public:
  virtual ~MsiRoute() = default;
  // Routes future triggers to `message`; an unmasked route delivers at once.
  virtual Status Set(const MsiMessage& message) = 0;
  // While masked, what is triggered waits in the event descriptor; unmasking delivers it. Unmasked at first.
  virtual Status SetMasked(bool masked) = 0;
  // Raises the interrupt (writes the irqfd). Without a message set it does nothing.
  virtual void Trigger() = 0;
  // The irqfd, for back ends that signal from elsewhere (vhost, VFIO). Owned by the route.
  virtual int event_fd() const = 0;
};

// Whether something was triggered that waits in the descriptor, because the route is masked or not set yet.
bool InterruptWaits(const MsiRoute& route);

// Allocates routes; implemented over KVM's GSI routing, and by a fake in tests.
class MsiController {
 public:
  virtual ~MsiController() = default;
  // kResourceExhausted when no GSI is left.
  virtual Result<std::unique_ptr<MsiRoute>> AllocateRoute() = 0;
};

// Guest writes to an address that are turned into an eventfd signal without leaving the kernel. Thread-safe.
class IoEventRegistry {
 public:
  virtual ~IoEventRegistry() = default;
  // MMIO write of any width at `address` signals `event_fd`. kAlreadyExists if taken.
  virtual Status Add(uint64_t address, int event_fd) = 0;
  virtual Status Remove(uint64_t address, int event_fd) = 0;
};

}  // namespace berth::vmm
