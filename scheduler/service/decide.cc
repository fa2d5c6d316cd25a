#include "scheduler/service/decide.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "scheduler/service/score.h"

namespace berth::scheduler {
namespace {

bool IsMeant(const HostView& view, const std::string& only) {
  return only.empty() || view.report->name == only || view.report->uuid.ToString() == only;
}

// The place on a host on which the request fits. Counts are exact, so only an exhausted step budget can
// contradict them here.
std::optional<Choice> Assign(const HostView& view, const RequestSpec& spec) {
  FitOptions options;
  options.explain = false;
  FitResult fit = Fit(view.fit, spec, options);
  if (fit.verdict != Verdict::kFits) return std::nullopt;
  return Choice{view.report->uuid, view.report->name, view.generation, std::move(fit.assignment)};
}

}  // namespace

Decision DecideByClass(CandidateCache& cache, const std::shared_ptr<const Fleet>& fleet,
                       const RequestSpec& spec) {
  CandidateCache::Answer answer = cache.Best(fleet, spec);
  Decision out;
  out.undecided = answer.undecided;
  if (answer.host != nullptr) out.choice = Assign(*answer.host, spec);
  if (out.choice) return out;
  return Decide(*fleet, spec, "", false);
}

Decision Decide(const Fleet& fleet, const RequestSpec& spec, const std::string& only, bool explain) {
  Decision out;
  std::optional<Score> best;
  const HostView* chosen = nullptr;
  std::vector<std::pair<const HostView*, Verdict>> refused;
  RequestPlan plan(spec, DeviceTypes::OfProcess());
  fleet.ForEach([&](const HostView& view) {
    if (!IsMeant(view, only)) return;
    QuickFit fit = FitView(view, plan);
    if (fit.verdict == Verdict::kUndecided) ++out.undecided;
    if (fit.verdict != Verdict::kFits) {
      refused.emplace_back(&view, fit.verdict);
      return;
    }
    if (explain) out.fitting.push_back(view.report->name);
    Score score = ScoreOf(view, spec, fit);
    bool better = !best || score < *best || (score == *best && view.report->name < chosen->report->name);
    if (!better) return;
    best = score;
    chosen = &view;
  });
  if (chosen != nullptr) {
    out.choice = Assign(*chosen, spec);
    if (!out.choice) {
      ++out.undecided;
      refused.emplace_back(chosen, Verdict::kUndecided);
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
