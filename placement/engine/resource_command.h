#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/uuid.h"

// The changes that OpenStack Placement's API knows, as commands of the one engine (see command.h). Values are
// what the request says, checked for form (JSON schema) by the sender; names are as given by the client. All
// that depends on the state is checked by the engine, in the order in which Placement does, and refused with
// Refuse() (refusal.h). `generation`: the provider's as the client has seen it; empty: not looked at.
namespace berth::placement {

// POST /resource_providers. The sender draws the UUID if the client gave none.
struct CreateProvider {
  Uuid uuid;
  std::string name;
  std::optional<Uuid> parent;
};
// PUT /resource_providers/{uuid}: name and parent. `set_parent`: the body has parent_provider_uuid (1.14+);
// an empty `parent` then means null. Changing or removing a parent needs `allow_reparenting` (1.37+).
struct UpdateProvider {
  Uuid uuid;
  std::string name;
  bool set_parent = false;
  std::optional<Uuid> parent;
  bool allow_reparenting = false;
};
// DELETE /resource_providers/{uuid}
struct DeleteProvider {
  Uuid uuid;
};

struct InventoryInput {
  std::string resource_class;
  int32_t total = 0;
  int32_t reserved = 0;
  int32_t min_unit = 1;
  int32_t max_unit = 0x7FFFFFFF;
  int32_t step_size = 1;
  double allocation_ratio = 1.0;
};
// PUT /resource_providers/{uuid}/inventories: exactly these.
struct SetInventories {
  Uuid provider;
  std::optional<uint64_t> generation;
  std::vector<InventoryInput> inventories;
  bool reserved_may_equal_total = true;  // 1.26+
};
// POST /resource_providers/{uuid}/inventories: one that is not there yet.
struct AddInventory {
  Uuid provider;
  InventoryInput inventory;
  bool reserved_may_equal_total = true;
};
// PUT /resource_providers/{uuid}/inventories/{class}: one that is there.
struct UpdateInventory {
  Uuid provider;
  std::optional<uint64_t> generation;
  InventoryInput inventory;
  bool reserved_may_equal_total = true;
};
// DELETE /resource_providers/{uuid}/inventories/{class}
struct RemoveInventory {
  Uuid provider;
  std::string resource_class;
};
// DELETE /resource_providers/{uuid}/inventories
struct RemoveInventories {
  Uuid provider;
};

// POST /resource_classes, and with `idempotent` PUT /resource_classes/{name} of 1.7+: Outcome::created says
// which of 201 and 204 it is.
struct CreateResourceClass {
  std::string name;
  bool idempotent = false;
};
// PUT /resource_classes/{name} of 1.2 to 1.6
struct RenameResourceClass {
  std::string name;
  std::string new_name;
};
// DELETE /resource_classes/{name}
struct DeleteResourceClass {
  std::string name;
};
// PUT /traits/{name}: idempotent, Outcome::created says 201 or 204.
struct CreateTrait {
  std::string name;
};
// DELETE /traits/{name}
struct DeleteTrait {
  std::string name;
};

// PUT /resource_providers/{uuid}/traits; DELETE there: no traits and no generation.
struct SetTraits {
  Uuid provider;
  std::optional<uint64_t> generation;
  std::vector<std::string> traits;
};
// PUT /resource_providers/{uuid}/aggregates. With `raise_generation` (1.19+) the provider's generation grows.
struct SetAggregates {
  Uuid provider;
  std::optional<uint64_t> generation;
  std::vector<Uuid> aggregates;
  bool raise_generation = true;
};

struct AllocationInput {
  Uuid provider;
  std::string resource_class;
  int32_t amount = 0;  // 1 .. kMaxAmount
};
// All that one consumer is to have from now on.
struct ConsumerInput {
  Uuid consumer;
  std::optional<std::string> project;  // empty (before 1.8): kIncompleteId, as for the user
  std::optional<std::string> user;
  bool check_generation = false;             // 1.28+
  std::optional<uint64_t> generation;        // empty: null, the consumer must not exist
  std::optional<std::string> consumer_type;  // empty (before 1.38): stays as it is, "unknown" for a new one
  std::vector<AllocationInput> allocations;  // empty: the consumer is removed
};
// PUT /allocations/{consumer} with one, POST /allocations (`many`, whose texts differ): all or nothing.
struct SetAllocations {
  std::vector<ConsumerInput> consumers;
  bool many = false;
};
// DELETE /allocations/{consumer}
struct DeleteAllocations {
  Uuid consumer;
};
// POST /reshaper: all inventories of each provider and all allocations of each consumer, all or nothing.
struct Reshape {
  struct ProviderInventories {
    Uuid provider;
    uint64_t generation = 0;
    std::vector<InventoryInput> inventories;
  };
  std::vector<ProviderInventories> providers;
  std::vector<ConsumerInput> consumers;
};

}  // namespace berth::placement
