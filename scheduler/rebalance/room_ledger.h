#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "scheduler/explain/changes.h"
#include "scheduler/explain/known_host.h"
#include "scheduler/fit/quick_fit.h"
#include "scheduler/fit/request_plan.h"
#include "scheduler/rebalance/plan.h"

namespace berth::scheduler {

// A request ready to be asked of many hosts. Neither copied nor moved: the plan refers to the request.
struct Asked {
  Asked(RequestSpec request, const DeviceTypes& types) : spec(std::move(request)), plan(spec, types) {}
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;

  const RequestSpec spec;
  const RequestPlan plan;
};

// The fleet after some moves. Hosts are numbered as in KnownHosts. Not thread-safe.
class RoomLedger {
 public:
  // All three must outlive the ledger.
  RoomLedger(const KnownHosts& hosts, const FlavorSpecs& flavors);

  size_t size() const { return hosts_.size(); }
  const KnownHost& known(size_t host) const { return hosts_[host]; }
  const FitHost& fit(size_t host) const;
  const KnownHost::Claims& claims(size_t host) const;
  const placement::HostUsage& usage(size_t host) const;

  // What the instance asks of another host. Told from the claim that it had at the beginning.
  const Asked& RequestOf(const placement::Claim& claim, size_t host);
  // Whether the request fits, and how well; counts as a try.
  QuickFit Ask(const Asked& asked, const FitHost& host);
  // A claim on the host like `identity` (consumer, name and what the agent needs), with an exact place;
  // nothing: no place was found.
  std::optional<placement::Claim> Bind(const Asked& asked, size_t host, const placement::Claim& identity);
  // The host without some of its claims.
  FitHost Without(size_t host, const std::vector<const placement::Claim*>& claims) const;

  void Apply(size_t from, size_t to, const placement::Claim& claim);
  // Takes the last Apply back.
  void Undo();

  uint64_t tries() const { return tries_; }
  bool undecided() const { return undecided_; }  // some fit was neither yes nor no

 private:
  // A host that is not as it was.
  struct Changed {
    KnownHost::Claims claims;
    placement::HostUsage usage;
    FitHost fit;
  };
  struct Step {
    size_t from;
    size_t to;
    std::shared_ptr<const Changed> from_before;  // null: as known
    std::shared_ptr<const Changed> to_before;
  };

  void Set(size_t host, KnownHost::Claims claims, placement::HostUsage usage);

  const KnownHosts& hosts_;
  const FlavorSpecs& flavors_;
  std::vector<std::shared_ptr<const Changed>> changed_;  // by host; shared with the steps that led there
  std::vector<Step> steps_;
  std::map<Uuid, std::unique_ptr<Asked>> asked_;
  uint64_t tries_ = 0;
  bool undecided_ = false;
};

}  // namespace berth::scheduler
