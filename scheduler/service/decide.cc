#include "scheduler/service/decide.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "scheduler/fit/quick_fit.h"

namespace berth::scheduler {
namespace {

// Smaller is better.
struct Score {
  uint32_t non_local = 0;
  size_t devices = 0;  // beside a guest that asks for none
  uint64_t waste = 0;
  const std::string* name = nullptr;

  bool BetterThan(const Score& other) const {
    return std::tie(non_local, devices, waste, *name) <
           std::tie(other.non_local, other.devices, other.waste, *other.name);
  }
};

Score ScoreOf(const HostView& view, const RequestSpec& spec, uint32_t non_local, uint64_t waste) {
  if (spec.cells.empty()) {
    for (const FitCell& cell : view.fit.cells) waste += cell.counts.shared;
    waste -= std::min<uint64_t>(waste, view.fit.floating_vcpus);
  }
  return {non_local, spec.pci.empty() ? view.fit.devices.size() : 0, waste, &view.report->name};
}

// What is left of a search when counts do not tell.
QuickFit SearchHost(const HostView& view, const RequestSpec& spec) {
  FitOptions options;
  options.explain = false;
  FitResult fit = Fit(view.fit, spec, options);
  return {fit.verdict, fit.assignment.non_local, fit.assignment.waste, 0};
}

bool IsMeant(const HostView& view, const std::string& only) {
  return only.empty() || view.report->name == only || view.report->uuid.ToString() == only;
}

}  // namespace

Decision Decide(const Fleet& fleet, const RequestSpec& spec, const std::string& only, bool explain) {
  Decision out;
  std::optional<Score> best;
  const HostView* chosen = nullptr;
  std::vector<std::pair<const HostView*, Verdict>> refused;
  RequestPlan plan(spec, DeviceTypes::OfProcess());
  fleet.ForEach([&](const HostView& view) {
    if (!IsMeant(view, only)) return;
    QuickFit fit = FitQuickly(view.fit, plan);
    if (fit.verdict == Verdict::kUndecided) fit = SearchHost(view, spec);
    if (fit.verdict == Verdict::kUndecided) ++out.undecided;
    if (fit.verdict != Verdict::kFits) {
      refused.emplace_back(&view, fit.verdict);
      return;
    }
    if (explain) out.fitting.push_back(view.report->name);
    Score score = ScoreOf(view, spec, fit.non_local, fit.waste);
    if (best && !score.BetterThan(*best)) return;
    best = score;
    chosen = &view;
  });
  if (chosen != nullptr) {
    FitResult fit = Fit(chosen->fit, spec);
    // Counts are exact, so only an exhausted step budget can contradict them here.
    if (fit.verdict == Verdict::kFits) {
      out.choice =
          Choice{chosen->report->uuid, chosen->report->name, chosen->generation, std::move(fit.assignment)};
    } else {
      ++out.undecided;
      refused.emplace_back(chosen, fit.verdict);
    }
  }
  std::sort(out.fitting.begin(), out.fitting.end());
  if (out.choice && !explain) return out;
  for (auto [view, verdict] : refused) {
    Reason reason = verdict == Verdict::kNo
                        ? ExplainNoFit(view->fit, spec)
                        : Reason{"undecided", "", "", "host", "the search gave up before a proof"};
    out.refusals.push_back({view->report->name, std::move(reason)});
  }
  std::sort(out.refusals.begin(), out.refusals.end(),
            [](const Refusal& a, const Refusal& b) { return a.host_name < b.host_name; });
  return out;
}

std::string SummarizeRefusals(const std::vector<Refusal>& refusals) {
  if (refusals.empty()) return "no host fits: there is no host";
  std::map<std::string, uint32_t> counts;
  for (const Refusal& refusal : refusals) ++counts[refusal.reason.code];
  std::vector<std::pair<std::string, uint32_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text = "no host fits:";
  for (const auto& [code, count] : order) {
    text += (text.ends_with(":") ? " " : ", ") + code + " " + std::to_string(count);
  }
  if (refusals.size() == 1) text += " (" + refusals.front().reason.text + ")";
  return text;
}

}  // namespace berth::scheduler
