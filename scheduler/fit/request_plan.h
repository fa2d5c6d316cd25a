#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "scheduler/fit/cell_fit.h"
#include "scheduler/fit/device_types.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// How near a device is to the guest's host cells: beside one of them; on a socket of one; on another node;
// nobody knows.
enum class Nearness { kLocal, kSocket, kElsewhere, kUnknown };
inline constexpr size_t kNearnesses = 4;

// A request prepared for many hosts. Not thread-safe (it remembers device types): one for each thread.
// References `spec` and `types`, which must outlive it.
class RequestPlan {
 public:
  // The most PCI requests that FitQuickly decides by itself: it counts for each set of requests.
  static constexpr size_t kMaxQuick = 6;

  RequestPlan(const RequestSpec& spec, const DeviceTypes& types);

  // Guest cells that ask the same of a host cell.
  struct CellKind {
    CellNeed need;
    uint32_t count = 0;
  };

  const RequestSpec& spec() const { return spec_; }
  const std::vector<CellKind>& kinds() const { return kinds_; }
  // vCPUs that are not pinned.
  uint64_t floating() const { return floating_; }
  // Whether host cells can be told apart only by whether a guest cell fits and by waste: one kind of guest
  // cell, no devices, no networks.
  bool cells_are_alike() const { return cells_are_alike_; }
  // Pins CPUs anywhere.
  bool pins() const { return pins_; }
  // Whether FitQuickly may be asked.
  bool quick() const { return quick_; }
  uint64_t alias_requests() const { return alias_requests_; }
  // Requests that accept a device there, by their policies.
  uint64_t Allowed(Nearness nearness) const { return allowed_[static_cast<size_t>(nearness)]; }
  bool uses_sockets() const { return uses_sockets_; }
  uint32_t demand(size_t request) const { return demand_[request]; }
  uint32_t total_demand() const { return total_demand_; }

  // The requests that devices of this type can serve (R6, R7, R10).
  uint64_t Serves(uint32_t type) const {
    return type < serves_.size() && serves_[type] != kUnasked ? serves_[type] : Ask(type);
  }

 private:
  static constexpr uint64_t kUnasked = UINT64_MAX;

  uint64_t Ask(uint32_t type) const;

  const RequestSpec& spec_;
  const DeviceTypes& types_;
  std::vector<CellKind> kinds_;
  std::array<uint64_t, kNearnesses> allowed_{};
  std::vector<uint32_t> demand_;
  uint32_t total_demand_ = 0;
  uint64_t alias_requests_ = 0;
  uint64_t floating_ = 0;
  bool cells_are_alike_ = false;
  bool pins_ = false;
  bool quick_ = false;
  bool uses_sockets_ = false;
  mutable std::vector<uint64_t> serves_;  // by type
};

}  // namespace berth::scheduler
