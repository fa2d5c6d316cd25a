#include "scheduler/service/score.h"

#include "scheduler/fit/fit.h"

namespace berth::scheduler {

Score ScoreOf(const HostView& view, const RequestSpec& spec, const QuickFit& fit) {
  Score score{fit.non_local, 0, fit.waste};
  if (spec.pci.empty()) score.devices = view.fit.devices.size();
  if (spec.cells.empty()) {
    for (const FitCell& cell : view.fit.cells) score.waste += cell.counts.shared;
    score.waste -= std::min<uint64_t>(score.waste, view.fit.floating_vcpus);
  }
  return score;
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
