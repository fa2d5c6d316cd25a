#include "vmm/convert/conversion_plan.h"

#include <algorithm>
#include <string>

#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

Status CheckRange(uint64_t base, uint64_t size) {
  const std::string what = "range " + RangeText(base, size);
  if (size == 0) return InvalidArgument("range at " + RangeText(base, 1) + " is empty");
  if ((base | size) % kStatePage != 0) {
    return InvalidArgument(what + " is not whole pages of " + std::to_string(kStatePage) + " bytes");
  }
  if (base > UINT64_MAX - size) return InvalidArgument(what + " wraps");
  return OkStatus();
}

}  // namespace

std::string_view ConversionStepName(ConversionStep step) {
  switch (step) {
    case ConversionStep::kPlan:
      return "plan";
    case ConversionStep::kReserve:
      return "reserve";
    case ConversionStep::kBlock:
      return "block";
    case ConversionStep::kDma:
      return "dma";
    case ConversionStep::kAttributes:
      return "attributes";
    case ConversionStep::kDiscard:
      return "discard";
    case ConversionStep::kCommit:
      return "commit";
  }
  return "unknown";
}

Result<ConversionPlan> PlanConversion(const PageStateMap& states, uint64_t base, uint64_t size,
                                      Direction direction) {
  TRY(CheckRange(base, size));
  ConversionPlan plan;
  uint64_t covered = 0;
  Status refused;
  states.ForEach(base, size, [&](const StateRun& run) {
    covered += run.size;
    if (run.state == PageState::kUnplugged) {
      refused = InvalidArgument("range " + RangeText(run.base, run.size) + " is not plugged");
    }
    // The caller holds the range, so nobody else's conversion is in it.
    CHECK(run.state != PageState::kConverting);
    if (run.state != Origin(direction)) return;
    if (plan.changes.size() == kMaxConversionRuns) {
      refused = ResourceExhausted("range " + RangeText(base, size) + " alternates more than " +
                                  std::to_string(kMaxConversionRuns) + " times");
      return;
    }
    plan.bytes += run.size;
    const bool same_region =
        !plan.hulls.empty() && states.RegionAt(plan.hulls.back().base) == states.RegionAt(run.base);
    if (same_region) {
      plan.hulls.back().size = run.end() - plan.hulls.back().base;
    } else {
      plan.hulls.push_back(run);
    }
    plan.changes.push_back(run);
  });
  TRY(refused);
  if (covered < size && direction == Direction::kToPrivate) {
    return InvalidArgument("range " + RangeText(base, size) + " is not all memory of the guest");
  }
  return plan;
}

Result<std::vector<StateRun>> PlanPlug(const PageStateMap& states, uint64_t base, uint64_t size) {
  TRY(CheckRange(base, size));
  std::vector<StateRun> runs = states.Runs(base, size);
  uint64_t covered = 0;
  for (const StateRun& run : runs) {
    covered += run.size;
    if (run.state != PageState::kUnplugged) {
      return InvalidArgument("range " + RangeText(run.base, run.size) + " is plugged already");
    }
  }
  if (covered < size)
    return InvalidArgument("range " + RangeText(base, size) + " is not all memory of the guest");
  return runs;
}

Result<UnplugPlan> PlanUnplug(const PageStateMap& states, uint64_t base, uint64_t size) {
  TRY(CheckRange(base, size));
  UnplugPlan plan;
  uint64_t covered = 0;
  Status refused;
  states.ForEach(base, size, [&](const StateRun& run) {
    covered += run.size;
    if (run.state == PageState::kUnplugged) {
      refused = InvalidArgument("range " + RangeText(run.base, run.size) + " is not plugged");
    }
    CHECK(run.state != PageState::kConverting);
    if (run.state == PageState::kShared) plan.shared.push_back(run);
    const bool same_region =
        !plan.whole.empty() && states.RegionAt(plan.whole.back().base) == states.RegionAt(run.base);
    if (same_region) {
      plan.whole.back().size += run.size;
    } else {
      plan.whole.push_back(run);
    }
  });
  TRY(refused);
  if (covered < size)
    return InvalidArgument("range " + RangeText(base, size) + " is not all memory of the guest");
  return plan;
}

std::vector<StateRun> DiscardableRanges(const PageStateMap& states, const std::vector<StateRun>& runs,
                                        PageState keep, uint64_t page_size) {
  if (page_size <= kStatePage) return runs;
  std::vector<StateRun> ranges;
  uint64_t done = 0;  // where the last huge page that was looked at ends
  for (const StateRun& run : runs) {
    const StateRegion& region = *states.RegionAt(run.base);
    uint64_t page = region.base + (run.base - region.base) / page_size * page_size;
    for (page = std::max(page, done); page < run.end(); page += page_size) {
      const uint64_t size = std::min(page_size, region.end() - page);
      done = page + size;
      // Pages of this conversion are converting, and so is nobody else's: the caller holds whole huge pages.
      bool kept = false;
      states.ForEach(page, size, [&](const StateRun& part) { kept |= part.state == keep; });
      if (kept) continue;
      if (!ranges.empty() && ranges.back().end() == page) {
        ranges.back().size += size;
      } else {
        ranges.push_back({page, size, run.state});
      }
    }
  }
  return ranges;
}

}  // namespace berth::vmm
