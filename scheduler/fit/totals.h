#pragma once

#include <cstdint>
#include <optional>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What the host as a whole lacks under FitRules::kClaims, where instances float over all cells: empty if
// nothing. Under kScenario the totals are not looked at (R1). A reason is a proof: it counts the fewest
// shared CPUs that pinning can take away.
std::optional<Reason> CheckTotals(const FitHost& host, const RequestSpec& spec);

// Whether the floating vCPUs are still carried when pinning takes `taken` shared CPUs.
bool TotalsHold(const FitHost& host, const RequestSpec& spec, uint64_t taken);

// Whether pinning can take CPUs from the shared ones anywhere on the host.
bool PoolsOverlap(const FitHost& host);

}  // namespace berth::scheduler
