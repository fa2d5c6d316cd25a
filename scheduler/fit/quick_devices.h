#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/request_plan.h"

namespace berth::scheduler {

// A host's devices as one request sees them, counted: by the set of requests that they serve ("kind") and by
// place.
class QuickDevices {
 public:
  static constexpr size_t kMaxKinds = 16;

  // False: counts do not tell (see FitQuickly).
  bool Collect(const FitHost& host, const RequestPlan& plan);

  // The fewest non-local devices for a guest on the cells of `local`, with `socket` the cells that share a
  // socket with one of them; nothing when the devices do not suffice. Exact: by Hall's theorem over every set
  // of requests, and because local devices can be taken first without loss (the sets of devices that can be
  // matched are the independent sets of a matroid).
  std::optional<uint32_t> Count(uint64_t local, uint64_t socket) const;
  // Likewise without guest topology, where every device is as good as another.
  bool Suffice() const;

  // Not above the non-local devices of any choice of `cells` among `usable`; nothing when none suffices.
  std::optional<uint32_t> LowerBound(uint64_t usable, uint32_t cells) const;

  // Whether the request can not tell the two cells apart by their devices.
  bool AreAlike(size_t a, size_t b) const;

 private:
  static constexpr size_t kSets = size_t{1} << RequestPlan::kMaxQuick;
  static constexpr size_t kCells = 64;
  using Counts = std::array<uint32_t, kSets>;  // by set of requests

  struct Kind {
    uint64_t serves;
    uint32_t unknown;    // devices without node
    uint32_t elsewhere;  // on a node that is none of the host's cells
    uint32_t in_cells;   // in all cells together
    std::array<uint32_t, kCells> cells;
  };

  bool Add(uint64_t serves, int32_t cell, uint32_t count);
  static bool SeenFamily(const FitHost& host, const DeviceGroup& group, const RequestPlan& plan);
  // The most units of demand that devices can meet, given how many serve exactly each set.
  uint32_t MostMet(Counts& exactly) const;

  const RequestPlan* plan_ = nullptr;
  size_t host_cells_ = 0;
  size_t sets_ = 1;
  Counts demand_;  // of each set of requests together; like `kinds_` filled as far as used
  std::array<Kind, kMaxKinds> kinds_;
  size_t kinds_used_ = 0;
};

}  // namespace berth::scheduler
