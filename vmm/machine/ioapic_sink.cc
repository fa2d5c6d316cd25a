#include "vmm/machine/ioapic_sink.h"

#include <optional>

#include "common/log.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kLevelTriggered = 1 << 15;  // of MSI data

}  // namespace

void KvmIoApicSink::SetRoute(uint32_t pin, const MsiMessage& message, bool masked) {
  // The route of a masked pin stays: an interrupt in service still has to end.
  if (masked) return;
  std::optional<MsiMessage> route;
  if ((message.data & kLevelTriggered) != 0) route = message;
  if (Status status = routes_.SetPin(pin, route); !status.ok()) {
    LOG(kError, "ioapic_route_failed", {{"pin", pin}, {"error", status}});
  }
}

void KvmIoApicSink::Deliver(const MsiMessage& message) {
  // A message that no local APIC takes is the guest's mistake, and lost as on a real machine.
  if (Status status = vm_.SignalMsi(message); !status.ok()) {
    LOG(kDebug, "interrupt_delivery_failed", {{"error", status}});
  }
}

}  // namespace berth::vmm
