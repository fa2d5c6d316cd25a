#pragma once

#include <cstdint>

#include "scheduler/fit/quick_fit.h"
#include "scheduler/service/fleet.h"
#include "scheduler/weighers/weigher.h"

namespace berth::scheduler {

// How well a host serves a request: smaller is better. The order of choice: the fewest non-local devices (10
// bits); for a guest that asks for none, the fewest devices beside it (16 bits); the fullest host that serves
// (37 bits). Larger figures count as the largest.
using Score = uint64_t;
inline constexpr Score kNoScore = UINT64_MAX;
// Of a host that is neither yes nor no: the search gave up. No score of a host that fits is as large.
inline constexpr Score kUndecidedScore = kNoScore - 1;

// Of a host on which the request fits. With weighers: the fewest non-local devices (10 bits), then what they
// say, in 2^53 steps.
Score ScoreOf(const HostView& view, const RequestSpec& spec, const QuickFit& fit,
              const WeigherSet* weighers = nullptr);

}  // namespace berth::scheduler
