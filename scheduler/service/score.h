#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>

#include "scheduler/fit/quick_fit.h"
#include "scheduler/service/fleet.h"

namespace berth::scheduler {

// How well a host serves a request: smaller is better. The order of choice: the fewest non-local devices; for
// a guest that asks for none, the fewest devices beside it; the fullest host that serves.
struct Score {
  uint32_t non_local = 0;
  size_t devices = 0;
  uint64_t waste = 0;

  friend auto operator<=>(const Score&, const Score&) = default;
};

// Of a host on which the request fits.
Score ScoreOf(const HostView& view, const RequestSpec& spec, const QuickFit& fit);

// FitQuickly, and the search where counts do not tell.
QuickFit FitView(const HostView& view, const RequestPlan& plan);

}  // namespace berth::scheduler
