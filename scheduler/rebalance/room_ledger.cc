#include "scheduler/rebalance/room_ledger.h"

#include <utility>

#include "scheduler/explain/claim_request.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {

RoomLedger::RoomLedger(const KnownHosts& hosts, const FlavorSpecs& flavors)
    : hosts_(hosts), flavors_(flavors), changed_(hosts.size()) {}

const FitHost& RoomLedger::fit(size_t host) const {
  return changed_[host] != nullptr ? changed_[host]->fit : *hosts_[host].fit;
}

const KnownHost::Claims& RoomLedger::claims(size_t host) const {
  return changed_[host] != nullptr ? changed_[host]->claims : *hosts_[host].claims;
}

const placement::HostUsage& RoomLedger::usage(size_t host) const {
  return changed_[host] != nullptr ? changed_[host]->usage : *hosts_[host].usage;
}

const Asked& RoomLedger::RequestOf(const placement::Claim& claim, size_t host) {
  std::unique_ptr<Asked>& asked = asked_[claim.consumer];
  if (asked == nullptr) {
    asked = std::make_unique<Asked>(RequestOfClaim(claim, *hosts_[host].report, flavors_(claim.spec.flavor)),
                                    *hosts_[host].fit->types);
  }
  return *asked;
}

QuickFit RoomLedger::Ask(const Asked& asked, const FitHost& host) {
  ++tries_;
  QuickFit fit = FitByCounts(host, asked.plan);
  if (fit.verdict == Verdict::kUndecided) undecided_ = true;
  return fit;
}

std::optional<placement::Claim> RoomLedger::Bind(const Asked& asked, size_t host,
                                                 const placement::Claim& identity) {
  FitOptions options;
  options.explain = false;
  FitResult fit = Fit(this->fit(host), asked.spec, options);
  if (fit.verdict != Verdict::kFits) return std::nullopt;
  placement::Claim claim = identity;
  claim.host = hosts_[host].report->uuid;
  BindAssignment(asked.spec, fit.assignment, claim);
  // The same ports on other devices keep their settings.
  for (placement::DeviceBinding& device : claim.devices) {
    for (const placement::DeviceBinding& before : identity.devices) {
      if (before.request == device.request) device.port = before.port;
    }
  }
  return claim;
}

FitHost RoomLedger::Without(size_t host, const std::vector<const placement::Claim*>& claims) const {
  placement::HostUsage usage = this->usage(host);
  for (const placement::Claim* claim : claims) placement::RemoveClaim(*claim, usage);
  return FromHost(*hosts_[host].report, usage);
}

void RoomLedger::Set(size_t host, KnownHost::Claims claims, placement::HostUsage usage) {
  auto changed = std::make_shared<Changed>();
  changed->fit = FromHost(*hosts_[host].report, usage);
  changed->claims = std::move(claims);
  changed->usage = std::move(usage);
  changed_[host] = std::move(changed);
}

void RoomLedger::Apply(size_t from, size_t to, const placement::Claim& claim) {
  steps_.push_back({from, to, changed_[from], changed_[to]});
  KnownHost::Claims left = claims(from);
  placement::HostUsage usage_left = usage(from);
  auto old = left.find(claim.consumer);
  placement::RemoveClaim(*old->second, usage_left);
  left.erase(old);
  KnownHost::Claims more = claims(to);
  placement::HostUsage usage_more = usage(to);
  placement::AddClaim(claim, usage_more);
  more[claim.consumer] = std::make_shared<const placement::Claim>(claim);
  Set(from, std::move(left), std::move(usage_left));
  Set(to, std::move(more), std::move(usage_more));
}

void RoomLedger::Undo() {
  Step step = std::move(steps_.back());
  steps_.pop_back();
  changed_[step.to] = std::move(step.to_before);
  changed_[step.from] = std::move(step.from_before);
}

}  // namespace berth::scheduler
