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
struct ReleaseClaim {
  std::string consumer;  // the consumer's UUID, or the instance's name
};
struct FinalizeClaim {
  Uuid consumer;
};
struct ReportStatus {
  Uuid consumer;
  InstanceStatus status;
};

// All that changes the state. Time (and every id) comes with the command, so that the same commands always
// give the same state.
struct Command {
  uint64_t at_ms = 0;      // Unix time
  std::string actor = {};  // who asks (request id, user), for the audit rows of the Placement model
  std::variant<ReportHost, DeleteHost, CreateClaim, ReleaseClaim, FinalizeClaim, ReportStatus, CreateProvider,
               UpdateProvider, DeleteProvider, SetInventories, AddInventory, UpdateInventory, RemoveInventory,
               RemoveInventories, CreateResourceClass, RenameResourceClass, DeleteResourceClass, CreateTrait,
               DeleteTrait, SetTraits, SetAggregates, SetAllocations, DeleteAllocations, Reshape>
      body;
};

// What a command did. If nothing changed, it only repeats what is so already.
struct Outcome {
  bool changed = false;
  uint64_t generation = 0;             // of the host; of the provider after commands about one
  std::vector<std::string> warnings;   // of ReportHost
  std::shared_ptr<const Claim> claim;  // of CreateClaim and ReleaseClaim, as it is now
  bool created = false;                // of CreateResourceClass, CreateTrait: it is new
  // Of commands about one provider: the provider as the command leaves it (none after DeleteProvider).
  ProviderRef provider;
  std::vector<db::Change> changes;  // to be made durable, the events among them
};

}  // namespace berth::placement
