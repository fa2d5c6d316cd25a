#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/viommu/vtd/interrupt_remapper.h"

namespace berth::vmm::vtd {

// The routes of all devices of one unit: each holds what the guest has programmed, and the real route behind
// it what the guest's table makes of that. Thread-safe. Outlives the routes; what it is given outlives it.
class RemappedRoutes {
 public:
  RemappedRoutes(MsiController& real, const InterruptRemapper& remapper) : real_(real), remapper_(remapper) {}
  ~RemappedRoutes();
  RemappedRoutes(const RemappedRoutes&) = delete;
  RemappedRoutes& operator=(const RemappedRoutes&) = delete;

  // The guest has changed table entries [first, last], or how messages are remapped at all. Returns how many
  // routes were looked at.
  uint64_t Refresh(uint32_t first, uint32_t last);
  void RefreshAll() { Refresh(0, UINT32_MAX); }

  // What one function allocates its routes from. Until its place is known nothing is delivered.
  class Function final : public MsiController {
   public:
    explicit Function(RemappedRoutes& routes) : routes_(routes) {}
    // Bus, slot and function. Before the guest runs the device.
    void SetSource(uint16_t source) { source_->store(source); }
    Result<std::unique_ptr<MsiRoute>> AllocateRoute() override;

   private:
    RemappedRoutes& routes_;
    // Shared with the routes, which may be there for longer.
    const std::shared_ptr<std::atomic<uint32_t>> source_ = std::make_shared<std::atomic<uint32_t>>(kNoSource);
  };

 private:
  static constexpr uint32_t kNoSource = UINT32_MAX;
  class Route;

  MsiController& real_;
  const InterruptRemapper& remapper_;
  std::mutex mutex_;  // guards what follows and the routes' state
  std::set<Route*> routes_;
};

}  // namespace berth::vmm::vtd
