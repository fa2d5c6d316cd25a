// Resize, cold migration and evacuation. Placement keeps how far a move is: the claim that is reserved for
// the instance, and whether it was exchanged with the instance's own. So every call may be repeated, by
// anybody.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "scheduler/fit/bind.h"
#include "scheduler/service/port_settings.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {
namespace {

using placement::Claim;
using placement::ClaimPhase;
using placement::InstanceState;

constexpr int kMaxAttempts = 16;

bool HasEnded(const Claim& claim) {
  return claim.status.state == InstanceState::kStopped || claim.status.state == InstanceState::kFailed;
}

// Whether its new place is to be kept can be told.
bool IsDecidable(const Claim& claim) {
  const InstanceState state = claim.status.state;
  return state == InstanceState::kRunning || state == InstanceState::kPaused ||
         state == InstanceState::kFailed || (claim.stays_stopped && state == InstanceState::kStopped);
}

bool HasPorts(const Claim& claim) {
  return std::any_of(claim.devices.begin(), claim.devices.end(),
                     [](const placement::DeviceBinding& device) { return device.port.any(); });
}

// Whether the disk's option has the key "image": the agent made a copy of an image, in a folder of the host.
bool IsCopied(std::string_view option) {
  bool quoted = false, at_key = true;
  for (size_t i = 0; i < option.size(); ++i) {
    if (at_key && option.substr(i).starts_with("image=")) return true;
    if (option[i] == '"') quoted = !quoted;
    at_key = option[i] == ',' && !quoted;
  }
  return false;
}

bool HasCopiedDisk(const Claim& claim) {
  return std::any_of(claim.spec.disks.begin(), claim.spec.disks.end(), IsCopied);
}

}  // namespace

Uuid ReservationOf(const Uuid& instance) {
  return Uuid::FromName(instance, "berth move");
}

Result<std::optional<Claim>> Scheduler::Reservation(const Uuid& instance) const {
  Result<Claim> claim = client_.GetClaim(ReservationOf(instance).ToString());
  if (claim.has_value()) return std::optional<Claim>(*std::move(claim));
  if (claim.error().code() == StatusCode::kNotFound) return std::optional<Claim>();
  return claim.error();
}

Result<Claim> Scheduler::Movable(const std::string& instance) const {
  if (instance.empty()) return InvalidArgument("must name an instance", "instance");
  TRY_ASSIGN(Claim claim, client_.GetClaim(instance));
  if (!claim.reserved_for.is_nil()) {
    return FailedPrecondition("\"" + instance + "\" is a reservation for the move of another instance",
                              "instance");
  }
  if (claim.external) {
    return FailedPrecondition("instance \"" + claim.name + "\" belongs to a client of the Placement API",
                              "instance");
  }
  if (claim.phase == ClaimPhase::kReleasing) {
    return FailedPrecondition("instance \"" + claim.name + "\" is being deleted", "instance");
  }
  return claim;
}

std::string Scheduler::EndpointOf(const Uuid& host) const {
  std::string endpoint;
  mirror_.Snapshot()->ForEach([&](const HostView& view) {
    if (view.report->uuid == host) endpoint = view.report->agent_endpoint;
  });
  return endpoint;
}

std::string Scheduler::NameOf(const Uuid& host) const {
  std::string name;
  mirror_.Snapshot()->ForEach([&](const HostView& view) {
    if (view.report->uuid == host) name = view.report->name;
  });
  return name;
}

// Holds what the instance is to have, beside what it has.
Result<Claim> Scheduler::Reserve(const MoveRequest& request, const Claim& claim) {
  TRY(CheckReady());
  const std::string& flavor_name = request.flavor.empty() ? claim.spec.flavor : request.flavor;
  const bool resizes = flavor_name != claim.spec.flavor;
  if (HasPorts(claim) && request.ports.empty()) {
    return InvalidArgument("instance \"" + claim.name + "\" has ports, which are not kept here", "wish.ports",
                           "name them again");
  }
  InstanceRequest wish;
  wish.flavor = flavor_name;
  wish.image_properties = request.image_properties;
  wish.ports = request.ports;
  wish.availability_zone = request.availability_zone;
  wish.project = request.project;
  auto resolved = Resolve(wish);
  if (!resolved.has_value()) {
    std::string field = "wish." + resolved.error().field();
    return std::move(resolved.error()).WithField(std::move(field));
  }
  const RequestSpec& spec = *resolved;
  const Uuid except = resizes && !request.evacuate ? Uuid{} : claim.host;
  std::string only = request.host;
  if (!request.evacuate && HasCopiedDisk(claim)) {
    const std::string own = claim.host.ToString();
    if (!resizes || (!only.empty() && only != own && only != NameOf(claim.host))) {
      return FailedPrecondition("instance \"" + claim.name +
                                    "\" has a disk that was made from an image on its host, which would be "
                                    "left behind and lost",
                                "instance", "it can be resized on its host");
    }
    only = own;
  }
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Decision decision = DecideMove(claim, spec, only, except);
    const bool unknown = decision.refusals.empty() ||
                         (decision.refusals.size() == 1 && decision.refusals[0].reason.code == "move");
    if (!decision.choice && !request.host.empty() && unknown) {
      return NotFound("there is no other host \"" + request.host + "\"", "host");
    }
    if (!decision.choice) return ResourceExhausted(SummarizeRefusals(decision.refusals));
    Claim reserved;
    reserved.consumer = ReservationOf(claim.consumer);
    reserved.name = "move of " + claim.consumer.ToString();
    reserved.host = decision.choice->host;
    reserved.reserved_for = claim.consumer;
    reserved.stays_stopped = claim.status.state == InstanceState::kStopped;
    reserved.group = claim.group;
    reserved.spec = claim.spec;
    reserved.spec.flavor = flavor_name;
    BindAssignment(spec, decision.choice->assignment, reserved);
    AddPortSettings(spec, request.ports, reserved);
    if (request.dry_run) return reserved;
    auto created = client_.CreateClaim(reserved, decision.choice->generation);
    if (created.has_value()) {
      mirror_.ApplyOwnClaim(created->claim, decision.choice->generation, created->generation);
      LOG(kInfo, "move_reserved",
          {{"instance", claim.consumer.ToString()}, {"host", decision.choice->host_name}});
      return std::move(created->claim);
    }
    if (created.error().code() == StatusCode::kAlreadyExists)
      return client_.GetClaim(reserved.consumer.ToString());
    if (!WorthRetrying(created.error().code())) return created.error();
    TRY(Refresh(*decision.choice, created.error()));
  }
  return Aborted("the chosen hosts changed under " + std::to_string(kMaxAttempts) +
                 " decisions in a row: try again");
}

// While one move waits, nobody asks for another.
Status Scheduler::CheckSameWish(const MoveRequest& request, const Claim& claim, const Claim& reserved) const {
  const Claim& place = reserved.swapped ? claim : reserved;
  const std::string host = NameOf(place.host);
  auto other = [&](const std::string& field) {
    return FailedPrecondition("instance \"" + claim.name + "\" is being moved to host " + host +
                                  " with flavor " + place.spec.flavor,
                              field, "confirm or revert that move first");
  };
  if (!request.flavor.empty() && request.flavor != place.spec.flavor) return other("wish.flavor");
  if (!request.host.empty() && request.host != host && request.host != place.host.ToString())
    return other("host");
  return OkStatus();
}

// Disks that were attached later are known to the agent of the old host only, which keeps its record until
// the move is decided. Of an evacuated host nobody can be asked. False: the new host has not heard of the
// instance.
Result<bool> Scheduler::CarryDisks(const Claim& claim, const Claim& reserved, AgentControl& agents) {
  if (reserved.host == claim.host || reserved.phase == ClaimPhase::kReleasing) return true;
  Result<std::vector<CarriedDisk>> disks = agents.Disks(EndpointOf(reserved.host), claim.consumer);
  if (!disks.has_value()) {
    if (disks.error().code() == StatusCode::kNotFound) return true;
    return disks.error();
  }
  for (const CarriedDisk& disk : *disks) {
    Status attached = agents.AttachDisk(EndpointOf(claim.host), claim.consumer, disk);
    if (attached.code() == StatusCode::kNotFound || attached.code() == StatusCode::kUnavailable) {
      LOG(kInfo, "disk_not_carried_yet",
          {{"instance", claim.consumer.ToString()}, {"disk", disk.id}, {"error", attached}});
      return false;
    }
    // Another disk of this name that somebody attached there meanwhile stays.
    if (!attached.ok() && attached.code() != StatusCode::kAlreadyExists) return attached;
  }
  return true;
}

// How far a move is, or what would be had where.
Result<MoveAnswer> Scheduler::Foresee(const MoveRequest& request, Claim claim,
                                      const std::optional<Claim>& reserved) {
  if (!reserved.has_value()) {
    TRY_ASSIGN(Claim place, Reserve(request, claim));
    claim.host = place.host;
    claim.spec.flavor = place.spec.flavor;
    claim.cells = std::move(place.cells);
    claim.devices = std::move(place.devices);
    std::string host_name = NameOf(claim.host);
    return MoveAnswer{MovePhase::kNone, std::move(claim), std::move(host_name)};
  }
  if (reserved->phase == ClaimPhase::kReleasing) {
    return MoveAnswer{MovePhase::kEnding, claim, NameOf(claim.host)};
  }
  if (!reserved->swapped) return MoveAnswer{MovePhase::kStopping, claim, NameOf(reserved->host)};
  return MoveAnswer{IsDecidable(claim) ? MovePhase::kDecide : MovePhase::kStarting, claim,
                    NameOf(claim.host)};
}

Result<MoveAnswer> Scheduler::Move(const MoveRequest& request, AgentControl& agents) {
  TRY_ASSIGN(Claim claim, Movable(request.instance));
  TRY_ASSIGN(std::optional<Claim> reserved, Reservation(claim.consumer));
  if (reserved.has_value() && reserved->phase != ClaimPhase::kReleasing) {
    TRY(CheckSameWish(request, claim, *reserved));
  }
  if (request.dry_run) return Foresee(request, std::move(claim), reserved);
  if (!reserved.has_value()) {
    TRY_ASSIGN(reserved, Reserve(request, claim));
  }
  if (reserved->phase == ClaimPhase::kReleasing) {
    return MoveAnswer{MovePhase::kEnding, claim, NameOf(claim.host)};
  }
  if (!reserved->swapped) {
    if (!request.evacuate && !HasEnded(claim)) {
      TRY(agents.Stop(EndpointOf(claim.host), claim.consumer));
      return MoveAnswer{MovePhase::kStopping, claim, NameOf(reserved->host)};
    }
    TRY_ASSIGN(claim, client_.SwapClaims(claim.consumer, reserved->consumer, true));
    LOG(kInfo, "instance_moved", {{"instance", claim.consumer.ToString()}, {"host", NameOf(claim.host)}});
    if (request.evacuate) TRY(client_.ReleaseClaim(reserved->consumer.ToString()).status());
    TRY_ASSIGN(reserved, Reservation(claim.consumer));
  }
  MoveAnswer answer{MovePhase::kStarting, claim, NameOf(claim.host)};
  if (reserved.has_value()) {  // of an evacuated instance it may be gone by now
    TRY_ASSIGN(const bool carried, CarryDisks(claim, *reserved, agents));
    if (!carried) return answer;
  }
  if (IsDecidable(claim)) {
    answer.phase = MovePhase::kDecide;
    return answer;
  }
  if (claim.stays_stopped) return answer;  // its agent tells when it has taken it over
  // Its agent may not have heard of it yet; the next call asks again.
  Status started = agents.Start(EndpointOf(claim.host), claim.consumer);
  if (!started.ok()) {
    LOG(kInfo, "moved_instance_not_started_yet",
        {{"instance", claim.consumer.ToString()}, {"error", started}});
  }
  return answer;
}

Result<MovePhase> Scheduler::ConfirmMove(const std::string& instance, bool dry_run) {
  TRY_ASSIGN(Claim claim, Movable(instance));
  TRY_ASSIGN(std::optional<Claim> reserved, Reservation(claim.consumer));
  if (!reserved.has_value()) return MovePhase::kNone;
  if (reserved->phase == ClaimPhase::kReleasing) return MovePhase::kEnding;
  if (!reserved->swapped) {
    return FailedPrecondition("instance \"" + claim.name + "\" is not at its new place yet", "instance",
                              "move it on, or revert");
  }
  if (dry_run) return MovePhase::kEnding;
  TRY(client_.ReleaseClaim(reserved->consumer.ToString()).status());
  return MovePhase::kEnding;
}

Result<MovePhase> Scheduler::RevertMove(const std::string& instance, AgentControl& agents, bool dry_run) {
  TRY_ASSIGN(Claim claim, Movable(instance));
  TRY_ASSIGN(std::optional<Claim> reserved, Reservation(claim.consumer));
  if (!reserved.has_value()) return MovePhase::kNone;
  if (reserved->phase == ClaimPhase::kReleasing) {
    if (!reserved->swapped) return MovePhase::kEnding;
    return FailedPrecondition("the move of instance \"" + claim.name + "\" was confirmed", "instance");
  }
  if (dry_run) return MovePhase::kEnding;
  if (reserved->swapped) {
    if (!HasEnded(claim)) {
      TRY(agents.Stop(EndpointOf(claim.host), claim.consumer));
      return MovePhase::kEnding;
    }
    TRY_ASSIGN(claim, client_.SwapClaims(claim.consumer, reserved->consumer, false));
    LOG(kInfo, "instance_moved_back",
        {{"instance", claim.consumer.ToString()}, {"host", NameOf(claim.host)}});
  }
  // If it was stopped for the move: until its agent has taken that back, the move is not over.
  Status started =
      reserved->stays_stopped ? OkStatus() : agents.Start(EndpointOf(claim.host), claim.consumer);
  if (!started.ok()) {
    LOG(kInfo, "instance_not_started_yet", {{"instance", claim.consumer.ToString()}, {"error", started}});
    return MovePhase::kEnding;
  }
  TRY(client_.ReleaseClaim(reserved->consumer.ToString()).status());
  return MovePhase::kEnding;
}

}  // namespace berth::scheduler
