#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// The one GSI routing table of a VM, which KVM replaces as a whole. GSIs below `pins` are the IOAPIC's, the
// rest are handed out as MSI routes. A GSI whose message was never set is not in the table. Thread-safe;
// outlives the routes, and the KvmVm outlives it.
class InterruptRoutes final : public MsiController {
 public:
  InterruptRoutes(KvmVm& vm, uint32_t pins) : vm_(vm), pins_(pins) {}
  ~InterruptRoutes() override;
  InterruptRoutes(const InterruptRoutes&) = delete;
  InterruptRoutes& operator=(const InterruptRoutes&) = delete;

  Result<std::unique_ptr<MsiRoute>> AllocateRoute() override;

  // What an IOAPIC pin is programmed to, or nothing. KVM reports the end of a level-triggered interrupt only
  // when it finds its vector in the route of a pin. kOutOfRange beyond the last pin.
  Status SetPin(uint32_t pin, const std::optional<MsiMessage>& message);

  // Runs `change`, which sets any number of routes, and tells KVM once at its end instead of each time.
  Status Batch(const std::function<Status()>& change);

 private:
  class Route;

  Status Update(uint32_t gsi, const std::optional<MsiMessage>& message);
  Status Commit();  // mutex_ held

  KvmVm& vm_;
  const uint32_t pins_;
  std::recursive_mutex mutex_;  // guards what follows; recursive because Batch's change comes back
  std::set<uint32_t> used_;
  std::map<uint32_t, MsiMessage> table_;
  uint32_t batching_ = 0;
  bool dirty_ = false;
};

}  // namespace berth::vmm
