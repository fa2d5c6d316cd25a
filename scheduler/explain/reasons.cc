#include "scheduler/explain/reasons.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

bool SameCode(const Lack& a, const Lack& b) {
  return a.code == b.code && a.cell == b.cell;
}

void Count(const std::vector<HostOutcome>& outcomes, uint32_t host, std::vector<LackTally>& tallies) {
  const Lack& lack = outcomes[host].lack;
  for (LackTally& tally : tallies) {
    const Lack& nearest = outcomes[tally.nearest].lack;
    if (!SameCode(nearest, lack)) continue;
    ++tally.hosts;
    if (Shortfall(lack) < Shortfall(nearest)) tally.nearest = host;
    return;
  }
  tallies.push_back({1, host});
}

// What another host in the same state was told, for this one: only numbers of cells may differ.
HostOutcome Translated(HostOutcome outcome, const FitHost& from, const FitHost& to) {
  if (outcome.lack.node == Lack::kNobody) return outcome;
  for (size_t c = 0; c < from.cells.size(); ++c) {
    if (from.cells[c].id != outcome.lack.node) continue;
    outcome.lack.node = to.cells[c].id;
    break;
  }
  return outcome;
}

}  // namespace

double Shortfall(const Lack& lack) {
  if (lack.need == 0) return 1;
  uint64_t missing = lack.need > lack.have ? lack.need - lack.have : lack.have - lack.need;
  return std::min(1.0, static_cast<double>(missing) / static_cast<double>(lack.need));
}

Reasons FindReasons(const KnownHosts& hosts, const RequestSpec& spec) {
  Reasons out;
  if (hosts.empty()) return out;
  RequestPlan plan(spec, *hosts.front().fit->types);
  LackFinder finder(plan);
  // By state: the first host that is in it.
  std::unordered_map<const FitState*, uint32_t> known;
  out.outcomes.resize(hosts.size());
  for (uint32_t i = 0; i < hosts.size(); ++i) {
    const FitHost& host = *hosts[i].fit;
    HostOutcome& outcome = out.outcomes[i];
    auto first = known.end();
    bool fresh = true;
    if (plan.quick() && hosts[i].state != nullptr)
      std::tie(first, fresh) = known.try_emplace(hosts[i].state, i);
    if (!fresh) {
      outcome = Translated(out.outcomes[first->second], *hosts[first->second].fit, host);
    } else {
      outcome.verdict = FitByCounts(host, plan).verdict;
      if (outcome.verdict == Verdict::kNo) outcome.lack = finder.Find(host);
    }
    if (outcome.verdict == Verdict::kFits) ++out.fitting;
    if (outcome.verdict == Verdict::kUndecided) ++out.undecided;
    if (outcome.verdict == Verdict::kNo) Count(out.outcomes, i, out.tallies);
  }
  std::stable_sort(out.tallies.begin(), out.tallies.end(),
                   [](const LackTally& a, const LackTally& b) { return a.hosts > b.hosts; });
  return out;
}

}  // namespace berth::scheduler
