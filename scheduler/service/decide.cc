#include "scheduler/service/decide.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace berth::scheduler {
namespace {

// Conditions without which no assignment exists, from counts alone.
bool CanFit(const FitHost& host, const RequestSpec& spec) {
  if (!host.can_run_guests || host.cells.size() < spec.cells.size()) return false;
  uint64_t pinned = 0;
  for (const GuestCell& cell : spec.cells) pinned += cell.pinned.Count();
  uint64_t free = 0;
  for (const FitCell& cell : host.cells) free += cell.counts.free;
  uint64_t devices = 0;
  for (const PciRequest& request : spec.pci) devices += request.count;
  return pinned <= free && devices <= host.devices.size();
}

// Smaller is better.
using Score = std::tuple<uint32_t, size_t, uint64_t, std::string>;

Score ScoreOf(const HostView& view, const RequestSpec& spec, const Assignment& assignment) {
  uint64_t waste = assignment.waste;
  if (spec.cells.empty()) {
    for (const FitCell& cell : view.fit.cells) waste += cell.counts.shared;
    waste -= std::min<uint64_t>(waste, view.fit.floating_vcpus);
  }
  return {assignment.non_local, spec.pci.empty() ? view.fit.devices.size() : 0, waste, view.report->name};
}

bool IsMeant(const HostView& view, const std::string& only) {
  return only.empty() || view.report->name == only || view.report->uuid.ToString() == only;
}

}  // namespace

Decision Decide(const Fleet& fleet, const RequestSpec& spec, const std::string& only, bool explain) {
  Decision out;
  std::optional<Score> best;
  std::vector<std::pair<const HostView*, Verdict>> refused;
  FitOptions options;
  options.explain = false;
  fleet.ForEach([&](const HostView& view) {
    if (!IsMeant(view, only)) return;
    FitResult fit;
    if (CanFit(view.fit, spec)) fit = Fit(view.fit, spec, options);
    if (fit.verdict == Verdict::kUndecided) ++out.undecided;
    if (fit.verdict != Verdict::kFits) {
      refused.emplace_back(&view, fit.verdict);
      return;
    }
    if (explain) out.fitting.push_back(view.report->name);
    Score score = ScoreOf(view, spec, fit.assignment);
    if (best && *best <= score) return;
    best = std::move(score);
    out.choice = Choice{view.report->uuid, view.report->name, view.generation, std::move(fit.assignment)};
  });
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
