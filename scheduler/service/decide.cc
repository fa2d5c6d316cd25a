#include "scheduler/service/decide.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "scheduler/fit/fit.h"
#include "scheduler/service/score.h"

namespace berth::scheduler {
namespace {

bool IsMeant(const HostView& view, const std::string& only) {
  return only.empty() || view.report->name == only || view.report->uuid.ToString() == only;
}

// One look at every host that is meant.
class Look {
 public:
  Look(const RequestSpec& spec, const HostPolicy* policy, bool explain)
      : spec_(spec), policy_(policy), explain_(explain), plan_(spec, DeviceTypes::OfProcess()) {}

  void At(const HostView& view) {
    if (policy_ != nullptr) {
      if (auto reason = policy_->filters.Refuse(view.Filtered(), spec_))
        return Refuse(view, *std::move(reason));
    }
    QuickFit fit = FitByCounts(view.fit, plan_);
    if (fit.verdict == Verdict::kUndecided) {
      ++out_.undecided;
      return Refuse(view, Undecided());
    }
    if (fit.verdict == Verdict::kNo) return Refuse(view, std::nullopt);
    if (explain_) out_.fitting.push_back(view.report->name);
    Score score = ScoreOf(view, spec_, fit, policy_ == nullptr ? nullptr : &policy_->weighers);
    bool better =
        chosen_ == nullptr || score < best_ || (score == best_ && view.report->name < chosen_->report->name);
    if (!better) return;
    best_ = score;
    chosen_ = &view;
  }
  void Refuse(const HostView& view, std::optional<Reason> reason) {
    refused_.emplace_back(&view, std::move(reason));
  }

  Decision Take() {
    if (chosen_ != nullptr) {
      out_.choice = ChooseOn(*chosen_, spec_);
      if (!out_.choice) {
        ++out_.undecided;
        Refuse(*chosen_, Undecided());
      }
    }
    std::sort(out_.fitting.begin(), out_.fitting.end());
    if (out_.choice && !explain_) return std::move(out_);
    for (auto& [view, reason] : refused_)
      out_.refusals.push_back(
          {view->report->name, reason ? *std::move(reason) : ExplainNoFit(view->fit, spec_)});
    std::sort(out_.refusals.begin(), out_.refusals.end(),
              [](const Refusal& a, const Refusal& b) { return a.host_name < b.host_name; });
    return std::move(out_);
  }

 private:
  static Reason Undecided() { return {"undecided", "", "", "host", "the search gave up before a proof"}; }

  const RequestSpec& spec_;
  const HostPolicy* const policy_;
  const bool explain_;
  RequestPlan plan_;
  Decision out_;
  Score best_ = kNoScore;
  const HostView* chosen_ = nullptr;
  std::vector<std::pair<const HostView*, std::optional<Reason>>> refused_;  // without reason: it does not fit
};

std::optional<Choice> ChoiceOf(const HostView& view, FitResult fit) {
  if (fit.verdict != Verdict::kFits) return std::nullopt;
  return Choice{view.report->uuid, view.report->name, view.generation, std::move(fit.assignment)};
}

// The same among the few hosts that are meant.
Decision DecideAmong(const Fleet& fleet, const RequestSpec& spec, const HostPolicy* policy,
                     const HostLimits& limits) {
  Look look(spec, policy, false);
  for (size_t slot : *limits.only) {
    const HostView* view = fleet.Peek(slot);
    if (view != nullptr && limits.Allows(slot)) look.At(*view);
  }
  return look.Take();
}

}  // namespace

// Counts are exact, so only an exhausted step budget can contradict them here.
std::optional<Choice> ChooseOn(const HostView& view, const RequestSpec& spec) {
  FitOptions options;
  options.explain = false;
  return ChoiceOf(view, Fit(view.fit, spec, options));
}

Decision DecideByClass(CandidateCache& cache, const std::shared_ptr<const Fleet>& fleet,
                       const RequestSpec& spec, const HostPolicy* policy, const HostLimits& limits) {
  Decision out;
  if (!limits.only) {
    CandidateCache::Answer answer = cache.Choose(fleet, spec, limits.excluded);
    out.undecided = answer.undecided;
    if (answer.host != nullptr) out.choice = ChoiceOf(*answer.host, std::move(answer.fit));
    if (out.choice) return out;
  } else {
    Decision among = DecideAmong(*fleet, spec, policy, limits);
    if (among.choice) return among;
  }
  return Decide(*fleet, spec, "", false, policy, limits);
}

Decision Decide(const Fleet& fleet, const RequestSpec& spec, const std::string& only, bool explain,
                const HostPolicy* policy, const HostLimits& limits) {
  Look look(spec, policy, explain);
  for (size_t slot = 0; slot < fleet.slots(); ++slot) {
    const HostView* view = fleet.Peek(slot);
    if (view == nullptr || !IsMeant(*view, only)) continue;
    if (limits.any() && !limits.Allows(slot)) {
      look.Refuse(*view, limits.Why());
    } else {
      look.At(*view);
    }
  }
  return look.Take();
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
