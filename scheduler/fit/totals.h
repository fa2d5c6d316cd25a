#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/cell_sets.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/lack.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What the host as a whole lacks under FitRules::kClaims, where instances float over all cells: vCPUs or
// memory. Under kScenario the totals are not looked at (R1). A lack is a proof: it counts the fewest shared
// CPUs that pinning can take away, and the least base-page memory that the guest can take.
Lack FindInTotals(const FitHost& host, const RequestSpec& spec);

// vCPUs of the guest that are not pinned.
uint64_t NewFloating(const RequestSpec& spec);

// Whether the floating vCPUs, and `floating` new ones, are still carried when pinning takes `taken` shared
// CPUs.
bool TotalsHold(const FitHost& host, uint64_t floating, uint64_t taken);

// Whether the host's base-page memory carries all of the guest, whatever pages it can get.
bool BaseMemoryIsAmple(const FitHost& host, const RequestSpec& spec);

// Whether it carries the guest's cells on these host cells, the members of `set`.
// kNo: not in any order on them. kUndecided: not so, perhaps in another order.
Verdict CheckBaseMemory(const FitHost& host, const RequestSpec& spec, uint64_t set,
                        const std::vector<uint32_t>& places);

// Whether the host as a whole lacks base-page memory for the guest on every one of these sets of host cells.
Lack FindInBaseMemory(const FitHost& host, const RequestSpec& spec, const std::vector<CellSet>& sets);

// Whether pinning can take CPUs from the shared ones anywhere on the host.
bool PoolsOverlap(const FitHost& host);

}  // namespace berth::scheduler
