#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/uuid.h"
#include "db/store.h"
#include "placement/engine/resource_command.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

using Event = db::Event;
using EventKind = db::EventKind;

// Creates or updates a host by its UUID.
struct ReportHost {
  HostReport report;
};
struct DeleteHost {
  Uuid host;
};
// Takes exactly what the claim names. Phase, status and created_at_ms of the claim are ignored.
struct CreateClaim {
  Claim claim;
  std::optional<uint64_t> expected_generation;
};
// All of them, in order, or none: one record. expected_generation counts the claims before it in the list.
struct CreateClaims {
  std::vector<CreateClaim> claims;
};
// Sets or clears COMPUTE_STATUS_DISABLED of the host's provider: whether schedulers may choose it.
struct SetHostStatus {
  std::string host;  // UUID or name
  bool enabled = true;
};
struct ReleaseClaim {
  std::string consumer;  // the consumer's UUID, or the instance's name
};
struct FinalizeClaim {
  Uuid consumer;
  std::optional<Uuid> host = {};  // whose agent speaks; kNotFound when the claim is on another one
};
// Adds a device to an active claim, asks one back (it stays held), or drops one that was asked back.
struct ChangeDevice {
  enum class Change { kAdd, kLeave, kDrop };
  Uuid consumer;
  Change change = Change::kAdd;
  DeviceBinding device;  // only its address matters to kLeave and kDrop
  std::optional<uint64_t> expected_generation;
};
// Exchanges what the claim of `consumer` and the claim `reservation`, which is reserved for it, hold. What
// hosts give stays the same in sum, so nothing is checked anew.
struct SwapClaims {
  Uuid consumer;
  Uuid reservation;
  bool swapped = true;  // of the reservation, afterwards
};
struct ReportStatus {
  Uuid consumer;
  InstanceStatus status;
  std::optional<Uuid> host = {};  // as in FinalizeClaim
};

// All that changes the state. Time (and every id) comes with the command, so that the same commands always
// give the same state.
struct Command {
  uint64_t at_ms = 0;      // Unix time
  std::string actor = {};  // who asks (request id, user), for the audit rows of the Placement model
  std::variant<ReportHost, DeleteHost, CreateClaim, CreateClaims, SetHostStatus, ReleaseClaim, FinalizeClaim,
               ChangeDevice, SwapClaims, ReportStatus, CreateProvider, UpdateProvider, DeleteProvider,
               SetInventories, AddInventory, UpdateInventory, RemoveInventory, RemoveInventories,
               CreateResourceClass, RenameResourceClass, DeleteResourceClass, CreateTrait, DeleteTrait,
               SetTraits, SetAggregates, SetAllocations, DeleteAllocations, Reshape>
      body;
};

// What a command did. If nothing changed, it only repeats what is so already.
struct Outcome {
  bool changed = false;
  uint64_t generation = 0;             // of the host; of the provider after commands about one
  std::vector<std::string> warnings;   // of ReportHost
  std::shared_ptr<const Claim> claim;  // of commands about one claim, as it is now
  struct Made {
    std::shared_ptr<const Claim> claim;
    uint64_t generation = 0;  // of its host, after it
  };
  std::vector<Made> made;  // of CreateClaims, in order
  bool created = false;    // of CreateResourceClass, CreateTrait: it is new
  // Of commands about one provider: the provider as the command leaves it (none after DeleteProvider).
  ProviderRef provider;
  std::vector<db::Change> changes;  // to be made durable, the events among them
};

}  // namespace berth::placement
