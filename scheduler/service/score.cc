#include "scheduler/service/score.h"

#include <algorithm>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {

Score ScoreOf(const HostView& view, const RequestSpec& spec, const QuickFit& fit) {
  uint64_t devices = spec.pci.empty() ? view.fit.devices.size() : 0;
  uint64_t waste = fit.waste;
  if (spec.cells.empty()) {
    for (const FitCell& cell : view.fit.cells) waste += cell.counts.shared;
    waste -= std::min<uint64_t>(waste, view.fit.floating_vcpus);
  }
  auto bits = [](uint64_t value, int width) { return std::min(value, (uint64_t{1} << width) - 1); };
  return bits(fit.non_local, 10) << 53 | bits(devices, 16) << 37 | bits(waste, 37);
}

QuickFit FitView(const HostView& view, const RequestPlan& plan) {
  QuickFit quick = FitQuickly(view.fit, plan);
  if (quick.verdict != Verdict::kUndecided) return quick;
  FitOptions options;
  options.explain = false;
  options.search_only = true;
  FitResult fit = Fit(view.fit, plan.spec(), options);
  return {fit.verdict, fit.assignment.non_local, fit.assignment.waste, 0};
}

}  // namespace berth::scheduler
