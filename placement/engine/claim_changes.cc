// Commands that change what an existing claim holds.
#include <algorithm>

#include "placement/engine/engine.h"

namespace berth::placement {
namespace {

Status NoSuchClaim(const Uuid& consumer, std::string field) {
  return NotFound("no claim of \"" + consumer.ToString() + "\"", std::move(field));
}

Status CheckOwn(const Claim& claim, std::string field) {
  if (claim.external) {
    return FailedPrecondition(
        "the claim of consumer " + claim.consumer.ToString() + " belongs to a client of the Placement API",
        std::move(field));
  }
  if (claim.phase == ClaimPhase::kReleasing) {
    return FailedPrecondition("the claim of consumer " + claim.consumer.ToString() + " is being released",
                              std::move(field));
  }
  return OkStatus();
}

auto FindDevice(std::vector<DeviceBinding>& devices, const PciAddress& address) {
  return std::find_if(devices.begin(), devices.end(),
                      [&](const DeviceBinding& device) { return device.address == address; });
}

// What one claim holds, in the other's name.
std::shared_ptr<Claim> Exchanged(const Claim& keeps_identity, const Claim& gives_content) {
  auto claim = std::make_shared<Claim>(keeps_identity);
  claim->host = gives_content.host;
  claim->cells = gives_content.cells;
  claim->devices = gives_content.devices;
  claim->spec = gives_content.spec;
  return claim;
}

}  // namespace

Result<Outcome> Engine::Do(const ChangeDevice& command, uint64_t at_ms) {
  const Claim* known = FindClaim(command.consumer);
  if (known == nullptr) return NoSuchClaim(command.consumer, "consumer");
  const HostVersion* before = FindHost(known->host);
  Outcome outcome;
  outcome.generation = before->generation;
  auto claim = std::make_shared<Claim>(*known);
  auto at = FindDevice(claim->devices, command.device.address);
  const bool held = at != claim->devices.end();
  const std::string what =
      "device " + command.device.address.ToString() + " of instance \"" + known->name + "\"";
  switch (command.change) {
    case ChangeDevice::Change::kAdd: {
      TRY(CheckOwn(*known, "consumer"));
      if (held && at->leaving) return FailedPrecondition(what + " is on its way out", "device.address");
      if (held) {
        outcome.claim = std::move(claim);
        return outcome;
      }
      if (command.expected_generation && *command.expected_generation != before->generation) {
        return Aborted("host " + before->report->name + " has generation " +
                       std::to_string(before->generation) + ", expected " +
                       std::to_string(*command.expected_generation));
      }
      claim->devices.push_back(command.device);
      claim->devices.back().leaving = false;
      break;
    }
    case ChangeDevice::Change::kLeave:
      TRY(CheckOwn(*known, "consumer"));
      if (!held) return NotFound(what + " is not held", "device.address");
      if (at->leaving) {
        outcome.claim = std::move(claim);
        return outcome;
      }
      at->leaving = true;
      break;
    case ChangeDevice::Change::kDrop:
      if (held && !at->leaving) {
        return FailedPrecondition(what + " was not asked back", "device.address", "ask it back first");
      }
      if (!held) {
        outcome.claim = std::move(claim);
        return outcome;
      }
      claim->devices.erase(at);
      break;
  }
  HostVersion probe = *before;
  RemoveClaim(*known, probe.usage);
  if (command.change == ChangeDevice::Change::kAdd) TRY(CheckClaim(*probe.report, probe.usage, *claim));
  AddClaim(*claim, probe.usage);

  HostVersion& host = Draft(claim->host);
  host.usage = std::move(probe.usage);
  ReplaceClaim(host, claim);
  resources_.DropInstance(claim->consumer);
  resources_.PutInstance(*host.report, *claim);
  outcome.generation = ++host.generation;
  outcome.claim = claim;
  outcome.changes.push_back(db::PutClaim{claim});
  outcome.changes.push_back(db::PutGeneration{claim->host, host.generation});
  AddClaimEvent(host, EventKind::kClaimChanged, claim, at_ms, outcome);
  if (command.change == ChangeDevice::Change::kDrop) RenewAfterDrop(claim->host, at_ms, outcome);
  return outcome;
}

// Agents and schedulers follow the events in this order: at no moment is the instance without a claim on the
// host that must not forget it yet.
Result<Outcome> Engine::Do(const SwapClaims& command, uint64_t at_ms) {
  const Claim* known = FindClaim(command.consumer);
  if (known == nullptr) return NoSuchClaim(command.consumer, "consumer");
  const Claim* other = FindClaim(command.reservation);
  if (other == nullptr) return NoSuchClaim(command.reservation, "reservation");
  TRY(CheckOwn(*known, "consumer"));
  TRY(CheckOwn(*other, "reservation"));
  if (other->reserved_for != known->consumer) {
    return FailedPrecondition(
        "claim \"" + other->name + "\" is not reserved for instance \"" + known->name + "\"", "reservation");
  }
  Outcome outcome;
  if (other->swapped == command.swapped) {
    HostVersion& host = **hosts_.Find(known->host);
    outcome.generation = host.generation;
    outcome.claim = *host.ClaimAt(known->consumer);
    return outcome;
  }
  const Claim old_instance = *known;
  const Claim old_reservation = *other;
  std::shared_ptr<Claim> instance = Exchanged(old_instance, old_reservation);
  std::shared_ptr<Claim> reservation = Exchanged(old_reservation, old_instance);
  instance->status = {};
  instance->stays_stopped = old_reservation.stays_stopped;
  reservation->swapped = command.swapped;

  resources_.DropInstance(old_instance.consumer);
  resources_.DropInstance(old_reservation.consumer);
  auto take_off = [&](const Claim& gone) {
    HostVersion& host = Draft(gone.host);
    RemoveClaim(gone, host.usage);
    host.claims.erase(host.ClaimAt(gone.consumer));
    if (gone.group) groups_.Remove(*gone.group, gone.host);
  };
  take_off(old_instance);
  take_off(old_reservation);
  const bool moves = old_instance.host != old_reservation.host;
  for (const std::shared_ptr<Claim>& claim : {reservation, instance}) {
    PutClaim(claim, at_ms, outcome);
    resources_.PutInstance(*FindHost(claim->host)->report, *claim);
  }
  if (moves) {
    for (const Claim& gone : {old_instance, old_reservation}) {
      HostVersion& host = Draft(gone.host);
      outcome.changes.push_back(db::PutGeneration{gone.host, ++host.generation});
      AddClaimEvent(host, EventKind::kClaimDeleted, std::make_shared<const Claim>(gone), at_ms, outcome);
    }
  }
  outcome.generation = FindHost(instance->host)->generation;
  outcome.claim = std::move(instance);
  return outcome;
}

}  // namespace berth::placement
