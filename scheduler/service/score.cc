#include "scheduler/service/score.h"

#include <algorithm>

namespace berth::scheduler {

Score ScoreOf(const HostView& view, const RequestSpec& spec, const QuickFit& fit,
              const WeigherSet* weighers) {
  if (weighers != nullptr && !weighers->empty()) {
    WeighedHost host{*view.report, view.usage, view.fit, fit, view.failures, view.backing_off};
    double worth = (1 - weighers->Weigh(host, spec)) / 2;  // 0 is best
    constexpr uint64_t kSteps = (uint64_t{1} << 53) - 1;
    return std::min<uint64_t>(fit.non_local, 1023) << 53 |
           static_cast<uint64_t>(worth * static_cast<double>(kSteps));
  }
  uint64_t devices = spec.pci.empty() ? view.fit.devices.size() : 0;
  uint64_t waste = fit.waste;
  if (spec.cells.empty()) {
    for (const FitCell& cell : view.fit.cells) waste += cell.counts.shared;
    waste -= std::min<uint64_t>(waste, view.fit.floating_vcpus);
  }
  auto bits = [](uint64_t value, int width) { return std::min(value, (uint64_t{1} << width) - 1); };
  return bits(fit.non_local, 10) << 53 | bits(devices, 16) << 37 | bits(waste, 37);
}

}  // namespace berth::scheduler
