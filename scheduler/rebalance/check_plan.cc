#include "scheduler/rebalance/check_plan.h"

#include <map>
#include <string>

#include "placement/model/usage.h"

namespace berth::scheduler {
namespace {

struct Books {
  const placement::HostReport* report = nullptr;
  placement::HostUsage usage;
  KnownHost::Claims claims;
};

Status Fault(const std::string& instance, const std::string& what) {
  return FailedPrecondition("the move of " + instance + ": " + what);
}

// All moves made; the books afterwards.
Result<std::map<std::string, Books>> MakeMoves(const KnownHosts& hosts, const RebalancePlan& plan,
                                               const PlanOptions& options) {
  if (plan.moves.size() > options.max_moves) return FailedPrecondition("more moves than allowed");
  std::map<std::string, Books> books;
  for (const KnownHost& host : hosts) books[host.report->name] = {host.report, {}, *host.claims};
  for (auto& [name, book] : books) {
    for (const auto& [consumer, claim] : book.claims) placement::AddClaim(*claim, book.usage);
  }
  for (const Move& move : plan.moves) {
    auto from = books.find(move.from);
    auto to = books.find(move.to);
    if (from == books.end() || to == books.end() || from == to) return Fault(move.instance, "no such way");
    auto old = from->second.claims.find(move.claim.consumer);
    if (old == from->second.claims.end()) return Fault(move.instance, "it is not on " + move.from);
    const placement::Claim& before = *old->second;
    if (before.phase != placement::ClaimPhase::kActive || before.external || before.name != move.instance)
      return Fault(move.instance, "it can not be moved");
    if (before.spec != move.claim.spec || before.devices.size() != move.claim.devices.size() ||
        before.cells.size() != move.claim.cells.size() || move.claim.host != to->second.report->uuid)
      return Fault(move.instance, "it is not the same afterwards");
    Status fits = placement::CheckClaim(*to->second.report, to->second.usage, move.claim);
    if (!fits.ok()) return Fault(move.instance, fits.ToString());
    placement::AddClaim(move.claim, to->second.usage);
    to->second.claims[move.claim.consumer] = std::make_shared<const placement::Claim>(move.claim);
    placement::RemoveClaim(before, from->second.usage);
    from->second.claims.erase(old);
  }
  return books;
}

}  // namespace

Status CheckRoomPlan(const KnownHosts& hosts, const RebalancePlan& plan, const PlanOptions& options) {
  TRY_ASSIGN(auto books, MakeMoves(hosts, plan, options));
  auto opened = books.find(plan.opened_host);
  if (!plan.opened || opened == books.end()) return FailedPrecondition("nothing was opened");
  return placement::CheckClaim(*opened->second.report, opened->second.usage, *plan.opened);
}

Status CheckDrainPlan(const KnownHosts& hosts, size_t host, const RebalancePlan& plan,
                      const PlanOptions& options) {
  TRY_ASSIGN(auto books, MakeMoves(hosts, plan, options));
  const Books& drained = books.at(hosts[host].report->name);
  if (drained.claims.size() != plan.stuck.size()) return FailedPrecondition("the host is not empty");
  for (const auto& [consumer, claim] : drained.claims) {
    if (claim->phase == placement::ClaimPhase::kActive && !claim->external)
      return FailedPrecondition(claim->name + " is still on the host");
  }
  return OkStatus();
}

}  // namespace berth::scheduler
