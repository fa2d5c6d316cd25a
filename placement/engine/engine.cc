#include "placement/engine/engine.h"

#include <algorithm>
#include <map>
#include <set>

#include "placement/engine/action.h"
#include "placement/model/held_families.h"
#include "placement/model/keep_claimed.h"
#include "placement/model/names.h"
#include "placement/model/projection.h"

namespace berth::placement {
namespace {

std::string Quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string Text(uint64_t value) {
  return std::to_string(value);
}

Status NoHost(const Uuid& uuid, std::string field) {
  return NotFound("no host " + uuid.ToString(), std::move(field));
}

Status NoClaim(const std::string& consumer) {
  return NotFound("no claim of " + Quoted(consumer), "consumer");
}

// An agent speaks of what was moved away from it.
Status OnAnotherHost(const Claim& claim) {
  return NotFound("claim " + Quoted(claim.name) + " is on another host", "host");
}

// What is kept counts more than what the agent had to say.
void AppendBounded(const std::vector<std::string>& kept, std::vector<std::string>& warnings) {
  size_t taken = std::min(kept.size(), kMaxReportWarnings);
  if (warnings.size() > kMaxReportWarnings - taken) warnings.resize(kMaxReportWarnings - taken);
  warnings.insert(warnings.end(), kept.begin(), kept.begin() + static_cast<ptrdiff_t>(taken));
}

// The same request, whatever has happened to the claim since.
bool SameContent(const Claim& a, const Claim& b) {
  return a.consumer == b.consumer && a.name == b.name && a.host == b.host && a.cells == b.cells &&
         a.devices == b.devices && a.spec == b.spec && a.group == b.group && a.reserved_for == b.reserved_for;
}

Status CheckGeneration(const HostReport& host, uint64_t generation, std::optional<uint64_t> expected) {
  if (!expected || *expected == generation) return OkStatus();
  return Aborted("host " + host.name + " has generation " + Text(generation) + ", expected " +
                 Text(*expected));
}

// What the claim amounts to on the host's tree is inventory there; less than a MiB of memory, for one, is
// none.
Status CheckInventories(const ResourceView& view, const HostReport& host, const Claim& claim) {
  for (const ProjectedAllocation& part : ProjectClaim(host, claim)) {
    ProviderRef at = view.FindProvider(part.provider);
    auto id = view.resource_classes().Find(part.resource_class);
    if (at && id && at.tree->Find(at.index, *id).inventory != nullptr) continue;
    return FailedPrecondition("provider " + NameOfProvider(host, part.provider) + " has no inventory of " +
                              part.resource_class);
  }
  return OkStatus();
}

}  // namespace

template <class Body>
Result<Outcome> Engine::DoResource(const Body& command, uint64_t at_ms) {
  Outcome outcome;
  if constexpr (requires(ClaimPlan& plan) { resources_.Do(command, plan); }) {
    ClaimPlan plan(*this, resources_.view(), at_ms);
    TRY(resources_.Do(command, plan));
    TRY(resources_.CheckNames());
    Execute(plan, at_ms, outcome);
  } else {
    TRY(resources_.Do(command, outcome));
    TRY(resources_.CheckNames());
    if constexpr (std::is_same_v<Body, SetTraits> || std::is_same_v<Body, SetAggregates>)
      TellOfProvider(command.provider, at_ms, outcome);
  }
  return outcome;
}

Result<Outcome> Engine::Apply(const Command& command) {
  return std::visit(
      [&](const auto& body) -> Result<Outcome> {
        resources_.Begin(command);
        Result<Outcome> outcome = [&] {
          if constexpr (requires { Do(body, command.at_ms); }) {
            return Do(body, command.at_ms);
          } else {
            return DoResource(body, command.at_ms);
          }
        }();
        if (!outcome) {
          resources_.Abandon();
        } else if constexpr (std::is_same_v<std::decay_t<decltype(body)>, SetHostStatus>) {
          resources_.End("set_host_status", body.host, *outcome);
        } else if constexpr (requires { Do(body, command.at_ms); }) {
          resources_.End({}, {}, *outcome);  // told by events of hosts and claims
        } else {
          resources_.End(ActionOf(body), SubjectOf(body), *outcome);
        }
        return outcome;
      },
      command.body);
}

void Engine::Execute(const ClaimPlan& plan, uint64_t at_ms, Outcome& outcome) {
  std::vector<Uuid> left;
  for (const auto& claim : plan.dropped()) {
    if (std::find(left.begin(), left.end(), claim->host) == left.end()) left.push_back(claim->host);
    DropClaim(*claim, at_ms, outcome);
  }
  for (const auto& claim : plan.bound()) PutClaim(claim, at_ms, outcome);
  // Only now is it known what need not be kept any more: a claim that went may be back, or its device
  // another consumer's.
  for (const Uuid& host : left) RenewAfterDrop(host, at_ms, outcome);
}

const HostVersion* Engine::FindHost(const Uuid& uuid) const {
  const Version* version = hosts_.Find(uuid);
  return version == nullptr ? nullptr : version->get();
}

const Claim* Engine::FindClaim(const Uuid& consumer) const {
  const Uuid* host = claim_hosts_.Find(consumer);
  if (host == nullptr) return nullptr;
  auto& version = **hosts_.Find(*host);
  return version.ClaimAt(consumer)->get();
}

HostVersion& Engine::Draft(const Uuid& uuid) {
  const Version* version = hosts_.Find(uuid);
  CHECK(version != nullptr);
  if (drafts_.try_emplace(uuid, true).second) hosts_.Put(uuid, std::make_shared<HostVersion>(**version));
  return **hosts_.Find(uuid);
}

void Engine::AddEvent(Event event, Outcome& outcome) {
  event.sequence = ++sequence_;
  outcome.changed = true;
  auto shared = std::make_shared<const Event>(std::move(event));
  outcome.changes.push_back(db::AddEvent{shared});
  events_.push_back(std::move(shared));
}

void Engine::AddHostEvent(const HostVersion& host, EventKind kind, uint64_t at_ms, Outcome& outcome) {
  Event event;
  event.kind = kind;
  event.host = host.uuid();
  event.generation = host.generation;
  event.at_ms = at_ms;
  if (kind == EventKind::kHostChanged) event.report = host.report;
  AddEvent(std::move(event), outcome);
}

void Engine::AddClaimEvent(const HostVersion& host, EventKind kind, std::shared_ptr<const Claim> claim,
                           uint64_t at_ms, Outcome& outcome) {
  Event event;
  event.kind = kind;
  event.host = host.uuid();
  event.generation = host.generation;
  event.at_ms = at_ms;
  event.claim = std::move(claim);
  AddEvent(std::move(event), outcome);
}

bool Engine::Renew(HostVersion& host, std::shared_ptr<const HostReport> reported,
                   std::vector<std::string>& warnings) {
  auto effective = std::make_shared<HostReport>(KeepClaimed(*reported, *host.report, host.usage, warnings));
  AppendBounded(warnings, effective->warnings);
  if (*reported == *host.reported && *effective == *host.report) return false;
  host.report = *effective == *reported ? reported : std::move(effective);
  host.reported = std::move(reported);
  return true;
}

Result<Outcome> Engine::Do(const ReportHost& command, uint64_t at_ms) {
  TRY(ValidateReport(command.report));
  auto report = std::make_shared<const HostReport>(command.report);
  const Uuid* holder = host_names_.Find(report->name);
  if (holder != nullptr && *holder != report->uuid) {
    return AlreadyExists("host name " + Quoted(report->name) + " belongs to host " + holder->ToString() +
                             ", reported by " + report->uuid.ToString(),
                         "name");
  }
  Outcome outcome;
  const HostVersion* known = FindHost(report->uuid);
  std::shared_ptr<const HostReport> before = known == nullptr ? nullptr : known->report;
  if (known == nullptr) {
    TRY(resources_.CheckHost(*report));
    auto fresh = std::make_shared<HostVersion>();
    fresh->reported = fresh->report = report;
    fresh->generation = sequence_;  // not below any that a deleted host of this UUID had
    hosts_.Put(report->uuid, std::move(fresh));
    drafts_[report->uuid] = true;
  } else {
    TRY(CheckHeldFamilies(*report, *known->report, known->usage));
    HostVersion probe = *known;
    if (!Renew(probe, report, outcome.warnings)) {
      outcome.generation = known->generation;
      return outcome;
    }
    // Never write what Restore would refuse.
    if (Status status = ValidateReport(*probe.report); !status.ok()) {
      return std::move(status).WithContext("with what claims of host " + report->name + " hold");
    }
    TRY(resources_.CheckHost(*probe.report));
    if (known->report->name != report->name) host_names_.Erase(known->report->name);
    Draft(report->uuid) = std::move(probe);
  }
  HostVersion& host = Draft(report->uuid);
  host_names_.Put(report->name, report->uuid);
  outcome.generation = ++host.generation;
  outcome.changes.push_back(db::PutHost{{host.generation, host.reported, host.report}});
  AddHostEvent(host, EventKind::kHostChanged, at_ms, outcome);
  resources_.PutHost(before.get(), *host.report, host.claims);
  return outcome;
}

Result<Outcome> Engine::Do(const DeleteHost& command, uint64_t at_ms) {
  const HostVersion* known = FindHost(command.host);
  if (known == nullptr) return Outcome{};  // done before
  if (!known->claims.empty()) {
    return FailedPrecondition("host " + known->report->name + " has " + Text(known->claims.size()) +
                                  " claims, among them " + Quoted(known->claims.front()->name),
                              "host", "release them first");
  }
  if (resources_.HostInUse(*known->report)) {
    return FailedPrecondition("host " + known->report->name + " has allocations of consumers without claims",
                              "host", "delete them through the Placement API first");
  }
  Outcome outcome;
  outcome.generation = known->generation;
  outcome.changes.push_back(db::DeleteHost{command.host});
  AddHostEvent(*known, EventKind::kHostDeleted, at_ms, outcome);
  resources_.DropHost(*known->report);
  host_names_.Erase(known->report->name);
  drafts_[command.host] = true;
  hosts_.Erase(command.host);
  return outcome;
}

Result<Outcome> Engine::RepeatedClaim(const Claim& known, const Claim& asked) const {
  if (!SameContent(known, asked)) {
    return AlreadyExists("consumer " + known.consumer.ToString() + " (" + Quoted(known.name) +
                             ") has a claim with other content",
                         "consumer");
  }
  if (known.phase == ClaimPhase::kReleasing) {
    return FailedPrecondition("the claim of consumer " + known.consumer.ToString() + " is being released",
                              "consumer");
  }
  Outcome outcome;
  HostVersion& host = **hosts_.Find(known.host);
  outcome.generation = host.generation;
  outcome.claim = *host.ClaimAt(known.consumer);
  return outcome;
}

Status Engine::CheckNewClaim(const CreateClaim& command) const {
  const Claim& claim = command.claim;
  if (claim.consumer.is_nil()) return InvalidArgument("no consumer", "consumer");
  if (claim.name.empty()) return InvalidArgument("no name", "name");
  if (claim.reserved_for == claim.consumer) {
    return InvalidArgument("a claim cannot be reserved for itself", "reserved_for");
  }
  if (const Uuid* holder = claim_names_.Find(claim.name)) {
    return AlreadyExists("instance name " + Quoted(claim.name) + " belongs to " + holder->ToString(), "name");
  }
  if (resources_.view().FindConsumer(claim.consumer)) {
    return AlreadyExists(
        "consumer " + claim.consumer.ToString() + " has allocations of a client of the Placement API",
        "consumer");
  }
  if (FindHost(claim.host) == nullptr) return NoHost(claim.host, "host");
  return OkStatus();
}

// An instance that moves does not stand in its own way.
Status Engine::CheckGroup(const Claim& claim) {
  if (!claim.group) return OkStatus();
  const Claim* mover = claim.reserved_for.is_nil() ? nullptr : FindClaim(claim.reserved_for);
  if (mover != nullptr && !mover->group) mover = nullptr;
  if (mover != nullptr) groups_.Remove(*mover->group, mover->host);
  Status status = groups_.Check(*claim.group, claim.host);
  if (mover != nullptr) groups_.Add(*mover->group, mover->host);
  return status;
}

void Engine::MakeClaim(const Claim& asked, uint64_t at_ms, Outcome& outcome) {
  auto claim = std::make_shared<Claim>(asked);
  claim->phase = ClaimPhase::kActive;
  claim->status = {};
  claim->created_at_ms = at_ms;
  claim->external = false;
  claim->swapped = false;
  for (DeviceBinding& device : claim->devices) device.leaving = false;
  PutClaim(claim, at_ms, outcome);
  resources_.PutInstance(*FindHost(claim->host)->report, *claim);
  outcome.claim = std::move(claim);
}

Result<Outcome> Engine::Do(const CreateClaim& command, uint64_t at_ms) {
  if (const Claim* known = FindClaim(command.claim.consumer)) return RepeatedClaim(*known, command.claim);
  TRY(CheckNewClaim(command));
  const HostVersion* known = FindHost(command.claim.host);
  TRY(CheckGeneration(*known->report, known->generation, command.expected_generation));
  TRY(CheckGroup(command.claim));
  TRY(CheckClaim(*known->report, known->usage, command.claim));
  TRY(CheckInventories(resources_.view(), *known->report, command.claim));
  Outcome outcome;
  MakeClaim(command.claim, at_ms, outcome);
  return outcome;
}

Status Engine::CheckNewClaims(const std::vector<CreateClaim>& claims) {
  struct Ahead {
    HostUsage usage;
    uint64_t generation = 0;
  };
  std::map<Uuid, Ahead> hosts;
  std::set<Uuid> consumers;
  std::set<std::string> names;
  std::vector<const Claim*> members;
  auto check = [&](const CreateClaim& one) -> Status {
    const Claim& claim = one.claim;
    if (!consumers.insert(claim.consumer).second) return InvalidArgument("is there twice", "consumer");
    if (const Claim* known = FindClaim(claim.consumer)) return RepeatedClaim(*known, claim).status();
    TRY(CheckNewClaim(one));
    if (!names.insert(claim.name).second)
      return InvalidArgument("instance name " + Quoted(claim.name) + " is there twice", "name");
    const HostVersion& known = *FindHost(claim.host);
    auto [at, fresh] = hosts.try_emplace(claim.host);
    Ahead& host = at->second;
    if (fresh) host = {known.usage, known.generation};
    TRY(CheckGeneration(*known.report, host.generation, one.expected_generation));
    TRY(CheckGroup(claim));
    if (claim.group) {
      groups_.Add(*claim.group, claim.host);
      members.push_back(&claim);
    }
    TRY(CheckClaim(*known.report, host.usage, claim));
    TRY(CheckInventories(resources_.view(), *known.report, claim));
    AddClaim(claim, host.usage);
    ++host.generation;
    return OkStatus();
  };
  Status status;
  for (size_t i = 0; i < claims.size() && status.ok(); ++i) {
    status = check(claims[i]);
    if (!status.ok()) {
      std::string field = status.field();
      status = std::move(status).WithField("claims[" + Text(i) + "]" + (field.empty() ? "" : "." + field));
    }
  }
  for (const Claim* member : members) groups_.Remove(*member->group, member->host);
  return status;
}

Result<Outcome> Engine::Do(const CreateClaims& command, uint64_t at_ms) {
  if (command.claims.empty()) return InvalidArgument("no claims", "claims");
  TRY(CheckNewClaims(command.claims));
  Outcome outcome;
  for (const CreateClaim& one : command.claims) {
    if (const Claim* known = FindClaim(one.claim.consumer)) {
      HostVersion& host = **hosts_.Find(known->host);
      outcome.made.push_back({*host.ClaimAt(known->consumer), host.generation});
      continue;
    }
    MakeClaim(one.claim, at_ms, outcome);
    outcome.made.push_back({std::exchange(outcome.claim, nullptr), outcome.generation});
  }
  return outcome;
}

Result<Outcome> Engine::Do(const SetHostStatus& command, uint64_t at_ms) {
  Result<Uuid> parsed = Uuid::Parse(command.host);
  const Uuid* named = parsed ? &*parsed : host_names_.Find(command.host);
  const HostVersion* known = named == nullptr ? nullptr : FindHost(*named);
  if (known == nullptr) return NotFound("no host " + Quoted(command.host), "host");
  const Uuid uuid = known->uuid();
  Outcome outcome;
  outcome.generation = known->generation;
  const ResourceView& view = resources_.view();
  ProviderRef root = view.FindProvider(uuid);
  CHECK(root && root.index == 0);
  SetTraits traits{.provider = uuid, .generation = {}, .traits = {}};
  bool disabled = false;
  for (TraitId id : root.tree->traits(0)) {
    std::string name(view.traits().name(id));
    bool status = name == kHostDisabledTrait;
    disabled = disabled || status;
    if (!status) traits.traits.push_back(std::move(name));
  }
  if (disabled == !command.enabled) return outcome;  // done before
  if (!command.enabled) traits.traits.emplace_back(kHostDisabledTrait);
  TRY(resources_.Do(traits, outcome));
  TellOfProvider(uuid, at_ms, outcome);
  outcome.generation = FindHost(uuid)->generation;
  return outcome;
}

void Engine::TellOfProvider(const Uuid& provider, uint64_t at_ms, Outcome& outcome) {
  ProviderRef at = resources_.view().FindProvider(provider);
  if (!at || FindHost(at.tree->uuid(0)) == nullptr) return;
  HostVersion& host = Draft(at.tree->uuid(0));
  ++host.generation;
  outcome.changes.push_back(db::PutGeneration{host.uuid(), host.generation});
  AddHostEvent(host, EventKind::kHostChanged, at_ms, outcome);
}

void Engine::PutClaim(const std::shared_ptr<const Claim>& claim, uint64_t at_ms, Outcome& outcome) {
  HostVersion& host = Draft(claim->host);
  AddClaim(*claim, host.usage);
  host.claims.insert(host.ClaimAt(claim->consumer), claim);
  claim_hosts_.Put(claim->consumer, claim->host);
  claim_names_.Put(claim->name, claim->consumer);
  if (claim->group) groups_.Add(*claim->group, claim->host);
  outcome.generation = ++host.generation;
  outcome.changes.push_back(db::PutClaim{claim});
  outcome.changes.push_back(db::PutGeneration{claim->host, host.generation});
  AddClaimEvent(host, EventKind::kClaimChanged, claim, at_ms, outcome);
}

void Engine::ReplaceClaim(HostVersion& host, std::shared_ptr<const Claim> claim) {
  auto at = host.ClaimAt(claim->consumer);
  *at = std::move(claim);
}

Result<Outcome> Engine::Do(const ReleaseClaim& command, uint64_t at_ms) {
  Result<Uuid> parsed = Uuid::Parse(command.consumer);
  const Claim* known = parsed ? FindClaim(*parsed) : nullptr;
  if (known == nullptr) {
    const Uuid* named = claim_names_.Find(command.consumer);
    if (named == nullptr) return NoClaim(command.consumer);
    known = FindClaim(*named);
  }
  Outcome outcome;
  if (known->external) {
    return FailedPrecondition(
        "the claim of consumer " + known->consumer.ToString() + " belongs to a client of the Placement API",
        "consumer", "delete its allocations there");
  }
  if (known->phase == ClaimPhase::kReleasing) {
    HostVersion& host = **hosts_.Find(known->host);
    outcome.generation = host.generation;
    outcome.claim = *host.ClaimAt(known->consumer);
    return outcome;
  }
  auto claim = std::make_shared<Claim>(*known);
  claim->phase = ClaimPhase::kReleasing;
  HostVersion& host = Draft(claim->host);
  ReplaceClaim(host, claim);
  outcome.generation = ++host.generation;
  outcome.claim = claim;
  outcome.changes.push_back(db::PutClaim{claim});
  outcome.changes.push_back(db::PutGeneration{claim->host, host.generation});
  AddClaimEvent(host, EventKind::kClaimChanged, claim, at_ms, outcome);
  return outcome;
}

Result<Outcome> Engine::Do(const FinalizeClaim& command, uint64_t at_ms) {
  const Claim* known = FindClaim(command.consumer);
  if (known == nullptr) return Outcome{};  // done before
  if (command.host && *command.host != known->host) return OnAnotherHost(*known);
  if (known->phase != ClaimPhase::kReleasing) {
    return FailedPrecondition("claim " + Quoted(known->name) + " is active", "consumer", "release it first");
  }
  Outcome outcome;
  resources_.DropInstance(command.consumer);
  const Uuid host = known->host;
  DropClaim(Claim(*known), at_ms, outcome);
  RenewAfterDrop(host, at_ms, outcome);
  return outcome;
}

void Engine::DropClaim(const Claim& gone, uint64_t at_ms, Outcome& outcome) {
  HostVersion& host = Draft(gone.host);
  auto at = host.ClaimAt(gone.consumer);
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): its place in the list is erased
  std::shared_ptr<const Claim> claim = *at;
  host.claims.erase(at);
  RemoveClaim(*claim, host.usage);
  claim_hosts_.Erase(claim->consumer);
  claim_names_.Erase(claim->name);
  if (claim->group) groups_.Remove(*claim->group, claim->host);
  outcome.generation = ++host.generation;
  outcome.changes.push_back(db::DeleteClaim{claim->consumer});
  outcome.changes.push_back(db::PutGeneration{claim->host, host.generation});
  AddClaimEvent(host, EventKind::kClaimDeleted, claim, at_ms, outcome);
}

void Engine::RenewAfterDrop(const Uuid& uuid, uint64_t at_ms, Outcome& outcome) {
  HostVersion& host = Draft(uuid);
  if (host.report == host.reported) return;
  std::vector<std::string> warnings;
  HostVersion probe = host;
  if (!Renew(probe, host.reported, warnings)) return;
  // A client may have taken the name of a provider that would come with it: then the next report says so.
  if (!ValidateReport(*probe.report).ok() || !resources_.CheckHost(*probe.report).ok()) return;
  std::shared_ptr<const HostReport> before = std::exchange(host.report, probe.report);
  outcome.changes.push_back(db::PutHost{{host.generation, host.reported, host.report}});
  resources_.PutHost(before.get(), *host.report, host.claims);
  AddHostEvent(host, EventKind::kHostChanged, at_ms, outcome);
}

Result<Outcome> Engine::Do(const ReportStatus& command, uint64_t at_ms) {
  const Claim* known = FindClaim(command.consumer);
  if (known == nullptr) return NoClaim(command.consumer.ToString());
  if (command.host && *command.host != known->host) return OnAnotherHost(*known);
  Outcome outcome;
  outcome.generation = FindHost(known->host)->generation;
  // A report that says nothing new is not written: observed_at_ms is when the state was first seen.
  if (known->status.state == command.status.state && known->status.detail == command.status.detail &&
      known->status.observed_at_ms != 0) {
    return outcome;
  }
  auto claim = std::make_shared<Claim>(*known);
  claim->status = command.status;
  HostVersion& host = Draft(claim->host);
  ReplaceClaim(host, claim);
  outcome.changes.push_back(db::PutClaim{claim});
  AddClaimEvent(host, EventKind::kClaimChanged, claim, at_ms, outcome);
  return outcome;
}

Engine::Committed Engine::Commit() {
  Committed committed;
  for (const auto& [uuid, touched] : drafts_) {
    if (const Version* version = hosts_.Find(uuid)) {
      committed.hosts.push_back(*version);
    } else {
      committed.deleted_hosts.push_back(uuid);
    }
  }
  drafts_.clear();
  committed.events = std::exchange(events_, {});
  committed.sequence = committed_sequence_ = sequence_;
  committed.resources = resources_.Commit();
  hosts_.Commit();
  host_names_.Commit();
  claim_hosts_.Commit();
  claim_names_.Commit();
  groups_.Commit();
  return committed;
}

void Engine::Rollback() {
  drafts_.clear();
  events_.clear();
  sequence_ = committed_sequence_;
  resources_.Rollback();
  hosts_.Rollback();
  host_names_.Rollback();
  claim_hosts_.Rollback();
  claim_names_.Rollback();
  groups_.Rollback();
}

}  // namespace berth::placement
