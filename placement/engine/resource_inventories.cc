#include <algorithm>
#include <set>
#include <string>

#include "placement/engine/resource_engine.h"

// Inventories: all of a provider, or one.
namespace berth::placement {
namespace {

bool ByClass(const Inventory& a, const Inventory& b) {
  return a.resource_class < b.resource_class;
}

// Placement's rule of 1.26 and the one before it.
Status CheckReserved(const Inventory& inventory, const InventoryInput& input, bool may_equal,
                     const ProviderRef& at, const std::string& unable) {
  const int64_t capacity = inventory.WholeCapacity();
  if (capacity > 0 || (may_equal && capacity == 0)) return OkStatus();
  return Refuse(Refusal::kBadRequest, unable + " inventory for resource provider " + at.uuid().ToString() +
                                          ": Invalid inventory for '" + input.resource_class +
                                          "' on resource provider '" + at.uuid().ToString() +
                                          "'. The reserved value is greater than " +
                                          (may_equal ? "total." : "or equal to total."));
}

std::string InUse(const std::string& classes, const ProviderRef& at) {
  return "Inventory for '" + classes + "' on resource provider '" + at.uuid().ToString() + "' in use.";
}

}  // namespace

// The class must be known: "No such resource class X." otherwise, to be put into the route's own words.
Result<Inventory> ResourceEngine::MakeInventory(const InventoryInput& input) const {
  auto id = view().resource_classes().Find(input.resource_class);
  if (!id) return NotFound("No such resource class " + input.resource_class + ".");
  return Inventory{.resource_class = *id,
                   .total = input.total,
                   .reserved = input.reserved,
                   .min_unit = input.min_unit,
                   .max_unit = input.max_unit,
                   .step_size = input.step_size,
                   .allocation_ratio = input.allocation_ratio};
}

// Error: kFailedPrecondition with the text of a class in use.
Status ResourceEngine::ReplaceInventories(const ProviderRef& at, std::vector<Inventory> inventories) {
  std::sort(inventories.begin(), inventories.end(), ByClass);
  std::string in_use;
  for (size_t i = 0; i < at.tree->inventories(at.index).size(); ++i) {
    const Inventory& old = at.tree->inventories(at.index)[i];
    if (at.tree->used(at.index)[i] == 0) continue;
    if (std::binary_search(inventories.begin(), inventories.end(), old, ByClass)) continue;
    in_use += (in_use.empty() ? "" : ", ") + view().resource_classes().name(old.resource_class);
  }
  if (!in_use.empty()) return FailedPrecondition(InUse(in_use, at));
  std::vector<Provider> providers = at.tree->Unpack();
  Provider& provider = providers[at.index];
  provider.used.clear();
  for (const Inventory& inventory : inventories) {
    provider.used.push_back(at.tree->Find(at.index, inventory.resource_class).used);
  }
  provider.inventories = std::move(inventories);
  provider.inventories_at_ms = at_ms_;
  ++provider.generation;
  Store(at, std::move(providers));
  return OkStatus();
}

Status ResourceEngine::Do(const SetInventories& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  if (command.generation && *command.generation != at.generation()) {
    return Refuse(Refusal::kConcurrentUpdate, "resource provider generation conflict");
  }
  std::vector<Inventory> inventories;
  Status unknown;
  std::set<std::string> named;
  for (const InventoryInput& input : command.inventories) {
    if (!named.insert(input.resource_class).second) {
      return Refuse(Refusal::kBadRequest, "Inventory of class " + input.resource_class + " is named twice.");
    }
    Result<Inventory> inventory = MakeInventory(input);
    if (!inventory && unknown.ok()) unknown = inventory.status();
    Inventory numbers{.resource_class = {}, .total = input.total, .reserved = input.reserved};
    numbers.allocation_ratio = input.allocation_ratio;
    TRY(CheckReserved(numbers, input, command.reserved_may_equal_total, at, "Unable to update"));
    if (inventory) inventories.push_back(*inventory);
  }
  if (!unknown.ok()) {
    return Refuse(Refusal::kBadRequest, "Unknown resource class in inventory for resource provider " +
                                            at.uuid().ToString() + ": " + unknown.message());
  }
  TRY(RefuseIfAgents(at, "inventories"));
  if (Status in_use = ReplaceInventories(at, std::move(inventories)); !in_use.ok()) {
    return Refuse(Refusal::kInventoryInUse, "update conflict: " + in_use.message());
  }
  Show(command.provider, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const AddInventory& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  const std::string unable =
      "Unable to create inventory for resource provider " + at.uuid().ToString() + ": ";
  Inventory numbers{
      .resource_class = {}, .total = command.inventory.total, .reserved = command.inventory.reserved};
  numbers.allocation_ratio = command.inventory.allocation_ratio;
  TRY(CheckReserved(numbers, command.inventory, command.reserved_may_equal_total, at, "Unable to create"));
  Result<Inventory> inventory = MakeInventory(command.inventory);
  if (!inventory) return Refuse(Refusal::kBadRequest, unable + inventory.status().message());
  if (at.tree->Find(at.index, inventory->resource_class).inventory != nullptr) {
    return Refuse(Refusal::kConcurrentUpdate,
                  "Update conflict: Inventory for '" + command.inventory.resource_class +
                      "' on resource provider '" + at.uuid().ToString() + "' already exists.");
  }
  TRY(RefuseIfAgents(at, "inventories"));
  std::vector<Inventory> inventories(at.tree->inventories(at.index).begin(),
                                     at.tree->inventories(at.index).end());
  inventories.push_back(*inventory);
  TRY(ReplaceInventories(at, std::move(inventories)));
  Show(command.provider, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const UpdateInventory& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  if (command.generation && *command.generation != at.generation()) {
    return Refuse(Refusal::kConcurrentUpdate, "resource provider generation conflict");
  }
  Inventory numbers{
      .resource_class = {}, .total = command.inventory.total, .reserved = command.inventory.reserved};
  numbers.allocation_ratio = command.inventory.allocation_ratio;
  TRY(CheckReserved(numbers, command.inventory, command.reserved_may_equal_total, at, "Unable to update"));
  Result<Inventory> inventory = MakeInventory(command.inventory);
  if (!inventory) return Refuse(Refusal::kNotFound, inventory.status().message());
  std::vector<Inventory> inventories(at.tree->inventories(at.index).begin(),
                                     at.tree->inventories(at.index).end());
  auto own = std::lower_bound(inventories.begin(), inventories.end(), *inventory, ByClass);
  if (own == inventories.end() || own->resource_class != inventory->resource_class) {
    return Refuse(Refusal::kBadRequest, "No inventory record with resource class for resource provider " +
                                            at.uuid().ToString() + ": No inventory of class " +
                                            command.inventory.resource_class + " found.");
  }
  TRY(RefuseIfAgents(at, "inventories"));
  *own = *inventory;
  TRY(ReplaceInventories(at, std::move(inventories)));
  Show(command.provider, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const RemoveInventory& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  const std::string none = "No inventory of class " + command.resource_class + " found for delete";
  auto id = view().resource_classes().Find(command.resource_class);
  if (!id) {
    return Refuse(Refusal::kNotFound, none + ": No such resource class " + command.resource_class + ".");
  }
  ProviderTree::Stock stock = at.tree->Find(at.index, *id);
  if (stock.inventory == nullptr) return Refuse(Refusal::kNotFound, none + ": " + none);
  if (stock.used != 0) {
    return Refuse(Refusal::kConcurrentUpdate, "Unable to delete inventory of class " +
                                                  command.resource_class + ": " +
                                                  InUse(command.resource_class, at));
  }
  TRY(RefuseIfAgents(at, "inventories"));
  std::vector<Inventory> inventories;
  for (const Inventory& inventory : at.tree->inventories(at.index)) {
    if (inventory.resource_class != *id) inventories.push_back(inventory);
  }
  TRY(ReplaceInventories(at, std::move(inventories)));
  Show(command.provider, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const RemoveInventories& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  TRY(RefuseIfAgents(at, "inventories"));
  if (Status in_use = ReplaceInventories(at, {}); !in_use.ok()) {
    return Refuse(Refusal::kInventoryInUse, in_use.message());
  }
  Show(command.provider, outcome);
  return OkStatus();
}

}  // namespace berth::placement
