#include "placement/engine/claim_plan.h"

#include <algorithm>
#include <string>

#include "placement/engine/bind_allocations.h"

namespace berth::placement {

HostVersion& ClaimPlan::Copy(const Uuid& host) {
  auto at = hosts_.find(host);
  if (at != hosts_.end()) return at->second;
  const HostVersion* version = source_.HostOf(host);
  CHECK(version != nullptr);
  return hosts_.emplace(host, *version).first->second;
}

void ClaimPlan::Drop(const Uuid& consumer) {
  const Uuid* on = source_.ClaimHostOf(consumer);
  if (on == nullptr) return;
  HostVersion& host = Copy(*on);
  auto at = host.ClaimAt(consumer);
  CHECK(at != host.claims.end() && (*at)->consumer == consumer);
  RemoveClaim(**at, host.usage);
  dropped_.push_back(*at);
  host.claims.erase(at);
}

Status ClaimPlan::Bind(const Consumer& consumer) {
  Uuid host;
  std::vector<ProjectedAllocation> here;
  for (const Allocation& allocation : consumer.allocations) {
    ProviderRef at = view_.FindProvider(allocation.provider);
    if (at.tree->owner(at.index) != TreeOwner::kAgent) continue;  // amounts only
    if (!host.is_nil() && host != at.tree->uuid(0)) {
      return FailedPrecondition("consumer " + consumer.uuid.ToString() + " has allocations on two hosts");
    }
    host = at.tree->uuid(0);
    here.push_back(
        {allocation.provider, view_.resource_classes().name(allocation.resource_class), allocation.amount});
  }
  if (here.empty()) return OkStatus();
  std::string name = consumer.uuid.ToString();
  if (const Uuid* holder = source_.NameHolder(name); holder != nullptr && *holder != consumer.uuid) {
    return FailedPrecondition("the instance " + holder->ToString() + " has the name \"" + name + "\"");
  }
  HostVersion& version = Copy(host);
  TRY_ASSIGN(Claim claim, BindAllocations(*version.report, version.usage, here));
  claim.consumer = consumer.uuid;
  claim.name = std::move(name);
  claim.host = host;
  claim.external = true;
  claim.created_at_ms = at_ms_;
  TRY(CheckClaim(*version.report, version.usage, claim));
  auto shared = std::make_shared<const Claim>(std::move(claim));
  AddClaim(*shared, version.usage);
  version.claims.insert(version.ClaimAt(consumer.uuid), shared);
  bound_.push_back(std::move(shared));
  return OkStatus();
}

}  // namespace berth::placement
