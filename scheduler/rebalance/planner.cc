#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

#include "scheduler/explain/claim_request.h"
#include "scheduler/rebalance/plan.h"
#include "scheduler/rebalance/room_ledger.h"

namespace berth::scheduler {
namespace {

constexpr size_t kNowhere = SIZE_MAX;

using ClaimPtr = std::shared_ptr<const placement::Claim>;

MoveCost CostOf(const placement::Claim& claim) {
  return {claim.spec.memory_bytes, static_cast<uint32_t>(claim.devices.size())};
}

// Cheaper to move. Names make the order the same on every run.
bool Cheaper(const ClaimPtr& a, const ClaimPtr& b) {
  auto cost = [](const ClaimPtr& one) { return std::tie(one->spec.memory_bytes, one->name); };
  if (a->devices.size() != b->devices.size()) return a->devices.size() < b->devices.size();
  return cost(a) < cost(b);
}

class Planner {
 public:
  Planner(const KnownHosts& hosts, const FlavorSpecs& flavors, const PlanOptions& options, size_t barred)
      : options_(options), ledger_(hosts, flavors), barred_(barred) {}

  RebalancePlan Room(const RequestSpec& spec) {
    if (ledger_.size() == 0) return Verdict(PlanVerdict::kNo);
    Asked asked(spec, *ledger_.known(0).fit->types);
    goal_ = [&](RebalancePlan& out) { return Opens(asked, out); };
    if (goal_(out_)) return Done(true);
    DirectRoom(asked);
    return Finish();
  }

  RebalancePlan Drain() {
    for (const auto& [consumer, claim] : ledger_.claims(barred_)) {
      if (!IsMovable(*claim)) out_.stuck.push_back(claim->name);
    }
    std::sort(out_.stuck.begin(), out_.stuck.end());
    goal_ = [this](RebalancePlan&) { return Movable(barred_).empty(); };
    if (goal_(out_)) return Done(true);
    std::vector<ClaimPtr> all = Movable(barred_);
    least_ = static_cast<uint32_t>(all.size());  // each of them is a move
    if (all.size() <= options_.max_moves && MoveAll(barred_, all)) Keep();
    return Finish();
  }

 private:
  bool Spent() const { return ledger_.tries() >= options_.budget; }
  uint32_t Most() const { return best_ ? static_cast<uint32_t>(best_->size()) - 1 : options_.max_moves; }

  RebalancePlan Verdict(PlanVerdict verdict) {
    out_.verdict = verdict;
    out_.tries = ledger_.tries();
    return std::move(out_);
  }

  RebalancePlan Done(bool fewest) {
    out_.fewest = fewest;
    for (const Move& move : out_.moves) {
      out_.cost.memory_bytes += move.cost.memory_bytes;
      out_.cost.devices += move.cost.devices;
    }
    return Verdict(PlanVerdict::kDone);
  }

  // What the direct search found is the answer unless everything with fewer moves can be tried.
  RebalancePlan Finish() {
    bool all_tried = true;
    for (uint32_t moves = std::max(1u, least_); moves <= Most() && all_tried; ++moves) {
      all_tried = Everything(moves);
      if (found_) break;
    }
    if (!best_) {
      bool proved = all_tried && !ledger_.undecided();
      return Verdict(proved ? PlanVerdict::kNo : PlanVerdict::kUndecided);
    }
    out_.moves = std::move(*best_);
    out_.opened = std::move(best_opened_);
    out_.opened_host = std::move(best_host_);
    return Done((all_tried && !ledger_.undecided()) || out_.moves.size() == least_);
  }

  bool Opens(const Asked& asked, RebalancePlan& out) {
    size_t best = kNowhere;
    QuickFit best_fit;
    for (size_t host = 0; host < ledger_.size(); ++host) {
      QuickFit fit = ledger_.Ask(asked, ledger_.fit(host));
      if (fit.verdict != berth::scheduler::Verdict::kFits) continue;
      if (best != kNowhere &&
          std::tie(fit.non_local, fit.waste) >= std::tie(best_fit.non_local, best_fit.waste))
        continue;
      best = host;
      best_fit = fit;
    }
    if (best == kNowhere) return false;
    out.opened = ledger_.Bind(asked, best, {});
    out.opened_host = ledger_.known(best).report->name;
    return out.opened.has_value();
  }

  // The present moves are the best so far.
  void Keep() {
    best_ = moves_;
    best_opened_ = out_.opened;
    best_host_ = out_.opened_host;
  }

  std::vector<ClaimPtr> Movable(size_t host) const {
    std::vector<ClaimPtr> out;
    for (const auto& [consumer, claim] : ledger_.claims(host)) {
      if (IsMovable(*claim)) out.push_back(claim);
    }
    return out;
  }

  // Moves one instance there. False: it has no place.
  bool TryMove(const placement::Claim& claim, size_t from, size_t to) {
    const Asked& asked = ledger_.RequestOf(claim, from);
    auto bound = ledger_.Bind(asked, to, claim);
    if (!bound) return false;
    ledger_.Apply(from, to, *bound);
    moves_.push_back({claim.name, ledger_.known(from).report->name, ledger_.known(to).report->name,
                      std::move(*bound), CostOf(claim)});
    return true;
  }

  void TakeBack() {
    ledger_.Undo();
    moves_.pop_back();
  }

  // Whether a member of a server group may go to the host while everybody else stays: the promises of hard
  // groups hold after every move, as placement holds them at every commit.
  bool GroupAllows(const placement::Claim& claim, size_t to) const {
    using enum placement::ServerGroupPolicy;
    if (!claim.group || (claim.group->policy != kAffinity && claim.group->policy != kAntiAffinity))
      return true;
    auto members = [&](size_t host) {
      uint32_t count = 0;
      for (const auto& [consumer, other] : ledger_.claims(host)) {
        if (consumer != claim.consumer && other->group && other->group->name == claim.group->name) ++count;
      }
      return count;
    };
    if (claim.group->policy == kAntiAffinity) return members(to) < claim.group->max_per_host;
    for (size_t host = 0; host < ledger_.size(); ++host) {
      if (host != to && members(host) > 0) return false;
    }
    return true;
  }

  // Hosts that take the instance, the best first: by non-local devices, then the fullest.
  std::vector<size_t> Destinations(const placement::Claim& claim, size_t from) {
    const Asked& asked = ledger_.RequestOf(claim, from);
    std::vector<std::tuple<uint32_t, uint64_t, size_t, size_t>> order;
    for (size_t to = 0; to < ledger_.size(); ++to) {
      if (to == from || to == barred_ || to == goal_host_) continue;
      QuickFit fit = ledger_.Ask(asked, ledger_.fit(to));
      if (fit.verdict != berth::scheduler::Verdict::kFits || !GroupAllows(claim, to)) continue;
      // Hosts with devices are kept for those that ask for some.
      size_t devices = asked.spec.pci.empty() ? ledger_.fit(to).devices.size() : 0;
      order.emplace_back(fit.non_local, devices, fit.waste, to);
    }
    std::sort(order.begin(), order.end());
    std::vector<size_t> out;
    for (const auto& one : order) out.push_back(std::get<3>(one));
    return out;
  }

  // Moves all of them off the host, those with most devices and memory first; goes back a bounded number of
  // times. Leaves the moves made if it succeeds, and none of them otherwise.
  bool MoveAll(size_t from, std::vector<ClaimPtr> claims) {
    std::sort(claims.begin(), claims.end(),
              [](const ClaimPtr& a, const ClaimPtr& b) { return Cheaper(b, a); });
    uint32_t returns = 0;
    std::function<bool(size_t)> place = [&](size_t next) {
      if (next == claims.size()) return true;
      if (Spent()) return false;
      for (size_t to : Destinations(*claims[next], from)) {
        if (!TryMove(*claims[next], from, to)) continue;
        if (place(next + 1)) return true;
        TakeBack();
        if (++returns > 64) return false;
      }
      return false;
    };
    return place(0);
  }

  // Instances of the host that need not be there for the request, as few and as cheap as goes by leaving out
  // one after another; nothing if even an empty host does not take it.
  std::optional<std::vector<ClaimPtr>> InTheWay(const Asked& asked, size_t host) {
    std::vector<ClaimPtr> off = Movable(host);
    std::sort(off.begin(), off.end(), [](const ClaimPtr& a, const ClaimPtr& b) { return Cheaper(b, a); });
    auto fits = [&](const std::vector<ClaimPtr>& without) {
      std::vector<const placement::Claim*> claims;
      for (const ClaimPtr& claim : without) claims.push_back(claim.get());
      return ledger_.Ask(asked, ledger_.Without(host, claims)).verdict == berth::scheduler::Verdict::kFits;
    };
    if (off.empty() || !fits(off)) return std::nullopt;
    for (size_t i = 0; i < off.size() && !Spent();) {
      std::vector<ClaimPtr> fewer = off;
      fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(i));
      if (fits(fewer)) {
        off = std::move(fewer);
      } else {
        ++i;
      }
    }
    return off;
  }

  // One or two instances that do it, cheaper or fewer than `known`.
  std::optional<std::vector<ClaimPtr>> FewInTheWay(const Asked& asked, size_t host, size_t known) {
    std::vector<ClaimPtr> movable = Movable(host);
    std::sort(movable.begin(), movable.end(), Cheaper);
    for (size_t i = 0; i < movable.size() && known > 1; ++i) {
      if (ledger_.Ask(asked, ledger_.Without(host, {movable[i].get()})).verdict ==
          berth::scheduler::Verdict::kFits)
        return std::vector<ClaimPtr>{movable[i]};
    }
    for (size_t i = 0; i < movable.size() && known > 2; ++i) {
      for (size_t j = 0; j < i && !Spent(); ++j) {
        FitHost host_without = ledger_.Without(host, {movable[i].get(), movable[j].get()});
        if (ledger_.Ask(asked, host_without).verdict == berth::scheduler::Verdict::kFits)
          return std::vector<ClaimPtr>{movable[i], movable[j]};
      }
    }
    return std::nullopt;
  }

  // Instances of one host go straight to hosts that have room for them.
  void DirectRoom(const Asked& asked) {
    struct Option {
      size_t host;
      std::vector<ClaimPtr> off;
      MoveCost cost;
    };
    std::vector<Option> options;
    for (size_t host = 0; host < ledger_.size() && !Spent(); ++host) {
      auto off = InTheWay(asked, host);
      if (!off) continue;
      if (auto fewer = FewInTheWay(asked, host, off->size())) off = std::move(fewer);
      if (off->size() > options_.max_moves) continue;
      MoveCost cost;
      for (const ClaimPtr& claim : *off) {
        cost.memory_bytes += CostOf(*claim).memory_bytes;
        cost.devices += CostOf(*claim).devices;
      }
      options.push_back({host, std::move(*off), cost});
    }
    std::stable_sort(options.begin(), options.end(), [](const Option& a, const Option& b) {
      return std::tuple(a.off.size(), a.cost.devices, a.cost.memory_bytes) <
             std::tuple(b.off.size(), b.cost.devices, b.cost.memory_bytes);
    });
    for (const Option& option : options) {
      if (Spent()) return;
      goal_host_ = option.host;
      bool moved = MoveAll(option.host, option.off);
      goal_host_ = kNowhere;
      if (!moved) continue;
      bool opened = goal_(out_);
      if (opened) Keep();
      for (size_t i = 0; i < option.off.size(); ++i) TakeBack();
      if (opened) return;
    }
  }

  // Tries every sequence of so many moves. False: the budget ran out.
  bool Everything(uint32_t moves) {
    if (moves == 0) {
      if (goal_(out_)) {
        found_ = true;
        Keep();
      }
      return !Spent();
    }
    for (size_t from = 0; from < ledger_.size(); ++from) {
      for (const ClaimPtr& claim : Movable(from)) {
        // Whether it fits on each host is asked for once, before anything below changes them.
        for (size_t to : Destinations(*claim, from)) {
          if (Spent()) return false;
          if (!TryMove(*claim, from, to)) continue;
          bool all = Everything(moves - 1);
          TakeBack();
          if (found_ || !all) return all;
        }
      }
    }
    return true;
  }

  const PlanOptions options_;
  RoomLedger ledger_;
  const size_t barred_;          // nothing is moved there
  size_t goal_host_ = kNowhere;  // likewise, while room is made on it
  uint32_t least_ = 0;           // no plan has fewer moves
  std::function<bool(RebalancePlan&)> goal_;
  std::vector<Move> moves_;
  bool found_ = false;  // by trying everything
  std::optional<std::vector<Move>> best_;
  std::optional<placement::Claim> best_opened_;
  std::string best_host_;
  RebalancePlan out_;
};

}  // namespace

RebalancePlan PlanRoom(const KnownHosts& hosts, const RequestSpec& spec, const FlavorSpecs& flavors,
                       const PlanOptions& options) {
  return Planner(hosts, flavors, options, kNowhere).Room(spec);
}

RebalancePlan PlanDrain(const KnownHosts& hosts, size_t host, const FlavorSpecs& flavors,
                        const PlanOptions& options) {
  return Planner(hosts, flavors, options, host).Drain();
}

}  // namespace berth::scheduler
