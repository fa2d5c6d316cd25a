#pragma once

#include <cstdint>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/request_plan.h"

namespace berth::scheduler {

// Whether a request fits and how well, without the assignment itself.
struct QuickFit {
  Verdict verdict = Verdict::kUndecided;  // kUndecided: ask Fit, this way does not tell
  uint32_t non_local = 0;
  uint64_t waste = 0;
  uint64_t cells = 0;  // the chosen host cells, by index
};

// The same answer as Fit's, from counts, in a fraction of a microsecond and without memory: yes or no is
// exact, `non_local` the least possible, then `waste`. Left open (kUndecided) are the cases that counts can
// not tell: a PF and its VFs that could both serve, group_policy=isolate with several kinds of device at one
// parent, domains, more than six PCI requests, pinning where shared and dedicated CPUs overlap on live hosts,
// and base-page memory of live hosts that is nearly full.
QuickFit FitQuickly(const FitHost& host, const RequestPlan& plan);

}  // namespace berth::scheduler
