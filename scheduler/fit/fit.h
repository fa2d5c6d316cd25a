#pragma once

#include <cstdint>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/quick_fit.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

struct FitOptions {
  uint64_t step_budget = 4'000'000;  // elementary steps (about a nanosecond each or less) per host
  bool explain = true;               // fill FitResult::reason of a "no"
  bool search_only = false;          // do not ask FitQuickly first; for tests of the search
};

struct FitResult {
  Verdict verdict = Verdict::kNo;
  Assignment assignment;  // of kFits
  Reason reason;          // of kNo (when asked for) and kUndecided
  uint64_t steps = 0;     // spent
};

// Whether the request fits on the host, exactly, and where: rules R1 to R10. Pure. Among all assignments:
// the fewest non-local devices, then the cells that are fullest and keep CPUs and memory in proportion
// (AddUnevenness), then the lowest addresses.
// Hosts with more than 64 cells and requests with more than 64 PCI requests are undecided.
FitResult Fit(const FitHost& host, const RequestSpec& spec, const FitOptions& options = {});
// The same of a request that was prepared, for hosts of the plan's device types.
FitResult Fit(const FitHost& host, const RequestPlan& plan, const FitOptions& options = {});

// The verdict and how well, without the place: FitQuickly, and Fit where counts do not tell.
QuickFit FitByCounts(const FitHost& host, const RequestPlan& plan);

// Why a request that does not fit does not: the first thing missing, in the order CPUs and memory of each
// guest cell, distinct cells, devices of each request, of all requests together, affinity.
Reason ExplainNoFit(const FitHost& host, const RequestSpec& spec);

}  // namespace berth::scheduler
