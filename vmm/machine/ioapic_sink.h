#pragma once

#include <cstdint>

#include "vmm/devices/ioapic.h"
#include "vmm/kvm/interrupt_routes.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// Delivers the IOAPIC's interrupts by KVM_SIGNAL_MSI and keeps the routes of level-triggered pins, by which
// KVM knows whose end it must report. `vm` and `routes` outlive it.
class KvmIoApicSink final : public IoApicSink {
 public:
  KvmIoApicSink(KvmVm& vm, InterruptRoutes& routes) : vm_(vm), routes_(routes) {}
  void SetRoute(uint32_t pin, const MsiMessage& message, bool masked) override;
  void Deliver(const MsiMessage& message) override;

 private:
  KvmVm& vm_;
  InterruptRoutes& routes_;
};

}  // namespace berth::vmm
