#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/convert/conversion.h"
#include "vmm/pagestate/page_state_map.h"

namespace berth::vmm {

// What a conversion will change.
struct ConversionPlan {
  // The pages whose state changes, by address; each run within one region, in the state that it has now.
  std::vector<StateRun> changes;
  // One range in each region touched, from the first to the last page that changes. What lies between is on
  // the target side already, so that one call of the kernel serves all of it.
  std::vector<StateRun> hulls;
  uint64_t bytes = 0;

  bool empty() const { return changes.empty(); }
};

// A conversion that would take more runs than this is refused, so that a guest cannot make the VMM keep more
// than some MiB for it.
inline constexpr size_t kMaxConversionRuns = 65536;

// Plans a conversion of [base, base + size). Pure.
// kInvalidArgument: no whole pages; a page to be private, or all of the range, is not the guest's memory;
//   a page is unplugged. Pages outside of all regions that are to be shared are left out: guests say so of
//   registers of devices.
// kResourceExhausted: more than kMaxConversionRuns.
Result<ConversionPlan> PlanConversion(const PageStateMap& states, uint64_t base, uint64_t size,
                                      Direction direction);

// The ranges, by region, that plugging makes memory. kInvalidArgument: no whole pages of regions, or a page
// is plugged already.
Result<std::vector<StateRun>> PlanPlug(const PageStateMap& states, uint64_t base, uint64_t size);

// What unplugging takes away: `shared` and `whole` (all of the range, by region).
struct UnplugPlan {
  std::vector<StateRun> shared;
  std::vector<StateRun> whole;
};
// kInvalidArgument: no whole pages of regions, or a page is unplugged already.
Result<UnplugPlan> PlanUnplug(const PageStateMap& states, uint64_t base, uint64_t size);

// The ranges of `runs` whose backing of `page_size` bytes a page can be given back: widened to whole pages of
// it where nothing in them is in `keep`, else left out. `runs` are converting, and nobody else's conversion
// is in the same pages. Pure.
std::vector<StateRun> DiscardableRanges(const PageStateMap& states, const std::vector<StateRun>& runs,
                                        PageState keep, uint64_t page_size);

}  // namespace berth::vmm
