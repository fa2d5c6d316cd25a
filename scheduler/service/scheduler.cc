#include "scheduler/service/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "scheduler/fit/bind.h"
#include "scheduler/service/port_settings.h"

namespace berth::scheduler {
namespace {

// Each retry follows a claim by somebody else on the chosen host, so even a few are rare.
constexpr int kMaxAttempts = 16;
constexpr size_t kMaxName = 255;

InstanceAnswer Failed(Status status) {
  InstanceAnswer answer;
  answer.status = std::move(status);
  return answer;
}

}  // namespace

bool Scheduler::WorthRetrying(StatusCode code) {
  return code == StatusCode::kAborted || code == StatusCode::kResourceExhausted ||
         code == StatusCode::kFailedPrecondition || code == StatusCode::kInvalidArgument ||
         code == StatusCode::kNotFound;
}

Scheduler::Scheduler(std::shared_ptr<const Catalogue> catalogue, PlacementClient& client,
                     MetricsRegistry& metrics, Clock clock, HostPolicy policy)
    : catalogue_(std::move(catalogue)),
      client_(client),
      clock_(std::move(clock)),
      creates_(metrics.AddCounter("scheduler_instances_created_total", "Instances placed and claimed")),
      no_fits_(metrics.AddCounter("scheduler_no_fit_total", "Requests that no host could take")),
      retries_(
          metrics.AddCounter("scheduler_claim_retries_total", "Claims refused because the host had changed")),
      undecided_(
          metrics.AddCounter("scheduler_fit_undecided_total", "Hosts on which the exact search gave up")),
      policy_(std::move(policy)),
      candidates_(512, 10'000, &policy_),
      mirror_({std::make_shared<FactsTable>(policy_.settings.aggregates, policy_.settings.default_zone),
               policy_.settings.backoff_first_s, policy_.settings.backoff_longest_s}) {
  client_.StartWatch([this](PlacementEvent event) {
    InstanceChange change = ChangeOf(event);
    mirror_.Apply(std::move(event));
    // An instance that has moved is told from its new host before its end at the old one: it has not ended.
    if (change.kind == InstanceChange::Kind::kDeleted) {
      auto found = mirror_.FindClaim(change.claim->consumer.ToString());
      if (found && found->claim->host != change.claim->host) return;
    }
    feed_.Publish(std::move(change));
  });
}

Scheduler::~Scheduler() {
  client_.StopWatch();
}

InstanceAnswer Scheduler::Create(const InstanceRequest& request) {
  InstanceAnswer answer = Answer(request);
  if (answer.decision.undecided > 0) {
    undecided_.Increment(answer.decision.undecided);
    LOG(kWarning, "fit_undecided", {{"instance", request.name}, {"hosts", answer.decision.undecided}});
  }
  if (request.dry_run) return answer;
  if (answer.status.ok()) {
    creates_.Increment();
  } else if (answer.status.code() == StatusCode::kResourceExhausted) {
    no_fits_.Increment();
  }
  return answer;
}

Status Scheduler::CheckReady() const {
  if (mirror_.synced()) return OkStatus();
  return Unavailable("the fleet is not known yet: placement has not answered");
}

Status Scheduler::CheckRequest(const InstanceRequest& request) const {
  if (request.name.empty() || request.name.size() > kMaxName) {
    return InvalidArgument("\"" + request.name.substr(0, kMaxName) + "\" must have 1 to 255 bytes", "name");
  }
  if (Uuid::Parse(request.name).has_value()) {
    return InvalidArgument("\"" + request.name + "\" must not look like a UUID", "name");
  }
  return OkStatus();
}

Result<RequestSpec> Scheduler::Resolve(const InstanceRequest& request) const {
  auto flavor = catalogue_->flavors.find(request.flavor);
  if (flavor == catalogue_->flavors.end()) {
    std::vector<std::string_view> names;
    for (const auto& [name, known] : catalogue_->flavors) names.push_back(name);
    std::string_view nearest = NearestName(request.flavor, names);
    return InvalidArgument("flavor \"" + request.flavor + "\" is not defined", "flavor",
                           nearest.empty() ? "" : "did you mean \"" + std::string(nearest) + "\"?");
  }
  TRY_ASSIGN(RequestSpec spec,
             ResolveRequest(flavor->second, request.image_properties, request.ports, catalogue_->aliases));
  spec.host.availability_zone = request.availability_zone;
  spec.host.project = request.project;
  policy_.filters.Simplify(spec);
  return spec;
}

InstanceAnswer Scheduler::Answer(const InstanceRequest& request) {
  if (Status status = CheckRequest(request); !status.ok()) return Failed(std::move(status));
  if (Status status = CheckReady(); !status.ok()) return Failed(std::move(status));
  if (auto again = AnswerAgain(request)) return std::move(*again);
  auto spec = Resolve(request);
  if (!spec.has_value()) return Failed(spec.error());
  return DecideAndClaim(request, *spec);
}

std::optional<InstanceAnswer> Scheduler::AnswerAgain(const InstanceRequest& request) const {
  if (request.uuid.is_nil()) return std::nullopt;
  auto found = mirror_.FindClaim(request.uuid.ToString());
  if (!found) return std::nullopt;
  return AnswerKnown(request, *found->claim, found->host_name);
}

InstanceAnswer Scheduler::AnswerKnown(const InstanceRequest& request, const placement::Claim& claim,
                                      const std::string& host_name) const {
  if (claim.name != request.name || claim.spec.flavor != request.flavor) {
    return Failed(AlreadyExists("instance " + claim.consumer.ToString() + " exists with name \"" +
                                    claim.name + "\" and flavor \"" + claim.spec.flavor + "\"",
                                "uuid"));
  }
  if (claim.phase == placement::ClaimPhase::kReleasing) {
    return Failed(FailedPrecondition("instance " + claim.consumer.ToString() + " is being deleted", "uuid",
                                     "ask again when it is gone"));
  }
  InstanceAnswer answer;
  answer.claim = claim;
  answer.host_name = host_name;
  return answer;
}

placement::Claim Scheduler::MakeClaim(const InstanceRequest& request, const Uuid& consumer,
                                      const RequestSpec& spec, const Choice& choice,
                                      const std::optional<placement::ServerGroup>& group) const {
  placement::Claim claim;
  claim.consumer = consumer;
  claim.name = request.name;
  claim.host = choice.host;
  claim.spec = request.boot;
  claim.spec.flavor = request.flavor;
  claim.created_at_ms = clock_();
  claim.group = group;
  BindAssignment(spec, choice.assignment, claim);
  AddPortSettings(spec, request.ports, claim);
  return claim;
}

InstanceAnswer Scheduler::DecideAndClaim(const InstanceRequest& request, const RequestSpec& spec) {
  const Uuid consumer = request.uuid.is_nil() ? Uuid::Random() : request.uuid;
  InstanceAnswer answer;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto group = GroupOf(request);
    if (!group.has_value()) return Failed(group.error());
    auto decision = DecideOnce(request, spec, *group, request.dry_run);
    if (!decision.has_value()) return Failed(decision.error());
    answer.decision = *std::move(decision);
    if (!answer.decision.choice) {
      if (!request.host.empty() && answer.decision.refusals.empty()) {
        return Failed(NotFound("host \"" + request.host + "\" is not known", "host"));
      }
      if (!request.dry_run) answer.status = ResourceExhausted(SummarizeRefusals(answer.decision.refusals));
      return answer;
    }
    const Choice& choice = *answer.decision.choice;
    placement::Claim claim = MakeClaim(request, consumer, spec, choice, *group);
    answer.host_name = choice.host_name;
    if (request.dry_run) {
      answer.claim = std::move(claim);
      return answer;
    }
    auto created = client_.CreateClaim(claim, choice.generation);
    if (created.has_value()) {
      mirror_.ApplyOwnClaim(created->claim, choice.generation, created->generation);
      answer.claim = std::move(created->claim);
      return answer;
    }
    answer.status = created.error();
    if (answer.status.code() == StatusCode::kAlreadyExists) {
      auto known = client_.GetClaim(consumer.ToString());
      if (!known.has_value()) return Failed(answer.status);
      auto found = mirror_.FindClaim(consumer.ToString());
      return AnswerKnown(request, *known, found ? found->host_name : "");
    }
    if (!WorthRetrying(answer.status.code())) return Failed(answer.status);
    retries_.Increment();
    LOG(kInfo, "claim_refused",
        {{"instance", request.name}, {"host", choice.host_name}, {"why", answer.status}});
    Status status = claim.group && answer.status.field() == "group" ? RefreshGroup(claim.group->name)
                                                                    : Refresh(choice, answer.status);
    if (!status.ok()) return Failed(std::move(status));
    answer.status = OkStatus();
  }
  return Failed(Aborted("the chosen hosts changed under " + std::to_string(kMaxAttempts) +
                        " decisions in a row: try again"));
}

Status Scheduler::Refresh(const Choice& choice, const Status& refusal) {
  auto state = client_.GetHost(choice.host);
  if (!state.has_value() && state.error().code() != StatusCode::kNotFound) return state.error();
  if (!state.has_value()) {
    mirror_.Refresh(choice.host, std::nullopt);
    return OkStatus();
  }
  // Nothing changed, so the same decision would be refused again.
  bool same = state->generation == choice.generation && refusal.code() != StatusCode::kAborted;
  if (same && refusal.code() == StatusCode::kInvalidArgument) return refusal;
  if (same)
    return Internal("placement refused an assignment on host " + choice.host_name + ": " +
                    refusal.ToString());
  mirror_.Refresh(choice.host, std::move(*state));
  return OkStatus();
}

Status Scheduler::SetHostStatus(const std::string& host, bool enabled, const std::string& reason) {
  if (host.empty()) return InvalidArgument("must name a host", "host");
  TRY(client_.SetHostStatus(host, enabled, reason));
  LOG(kInfo, enabled ? "host_enabled" : "host_disabled", {{"host", host}, {"reason", reason}});
  return OkStatus();
}

Result<placement::Claim> Scheduler::Delete(const std::string& instance) {
  if (instance.empty()) return InvalidArgument("must name an instance", "instance");
  // What is held for its move goes first: nobody would ask for it afterwards.
  auto found = mirror_.FindClaim(instance);
  if (found && !found->claim->reserved_for.is_nil()) {
    return FailedPrecondition("\"" + instance + "\" is a reservation for the move of another instance",
                              "instance", "confirm or revert that move");
  }
  if (found && mirror_.FindClaim(ReservationOf(found->claim->consumer).ToString())) {
    auto released = client_.ReleaseClaim(ReservationOf(found->claim->consumer).ToString());
    if (!released.has_value() && released.error().code() != StatusCode::kNotFound) return released.error();
  }
  return client_.ReleaseClaim(instance);
}

Result<Mirror::FoundClaim> Scheduler::Find(const std::string& instance) const {
  TRY(CheckReady());
  auto found = mirror_.FindClaim(instance);
  if (!found) return NotFound("instance \"" + instance + "\" does not exist", "instance");
  return *found;
}

Result<std::string> Scheduler::AgentOf(const std::string& host) const {
  TRY(CheckReady());
  std::optional<std::string> endpoint;
  mirror_.Snapshot()->ForEach([&](const HostView& view) {
    if (view.report->name == host || view.report->uuid.ToString() == host)
      endpoint = view.report->agent_endpoint;
  });
  if (!endpoint) return NotFound("host \"" + host + "\" is not known", "host");
  return *endpoint;
}

std::vector<Mirror::FoundClaim> Scheduler::List() const {
  std::vector<Mirror::FoundClaim> out;
  const std::set<Uuid> assumed = mirror_.Assumed();
  mirror_.Snapshot()->ForEach([&](const HostView& view) {
    view.claims.ForEach([&](placement::Claim claim) {
      if (assumed.contains(claim.consumer)) return;
      out.push_back({std::make_shared<const placement::Claim>(std::move(claim)), view.report->name,
                     view.report->agent_endpoint});
    });
  });
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.claim->name < b.claim->name; });
  return out;
}

}  // namespace berth::scheduler
