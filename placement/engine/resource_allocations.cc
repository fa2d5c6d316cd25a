#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "placement/engine/resource_engine.h"

// What consumers hold: one, many, and the reshaper.
namespace berth::placement {
namespace {

std::string Number(const std::optional<uint64_t>& generation) {
  return generation ? std::to_string(*generation) : "None";
}

}  // namespace

// One command that replaces consumers' allocations: looks everything up, takes the old ones off, checks and
// puts the new ones, in the order of the API.
class ConsumerWriter {
 public:
  // The route, for the texts.
  enum class Route { kPut, kPost, kReshape };

  ConsumerWriter(ResourceEngine& engine, const std::vector<ConsumerInput>& inputs, Route route,
                 ClaimBinder& binder)
      : engine_(engine), inputs_(inputs), route_(route), binder_(binder) {}

  // Consumer generations, projects, users, types, providers.
  Status Prepare();
  // Old allocations go, new ones are checked and come. The providers of the request grow a generation.
  Status Write();

  // In order of the request, each once.
  const std::vector<Uuid>& providers() const { return providers_; }

 private:
  struct Item {
    size_t consumer = 0;
    Uuid provider;
    ResourceClassId resource_class{};
    int32_t amount = 0;  // 0: to be removed
  };

  Status Ensure(const ConsumerInput& input);
  Status Resolve(size_t consumer);
  Status CheckProviders() const;
  Status CheckAmounts() const;
  Status CheckItem(const Item& item, int64_t sum) const;
  void Touch(const Uuid& provider) {
    if (seen_.insert(provider).second) providers_.push_back(provider);
  }
  Status Unable(const std::string& error) const;

  ResourceEngine& engine_;
  const std::vector<ConsumerInput>& inputs_;
  const Route route_;
  ClaimBinder& binder_;
  std::vector<std::shared_ptr<Consumer>> next_;  // parallel to inputs_
  std::vector<Item> items_;
  std::map<std::pair<Uuid, ResourceClassId>, int64_t> used_before_;
  std::vector<Uuid> providers_;
  std::set<Uuid> seen_;
};

// Does not fit.
Status ConsumerWriter::Unable(const std::string& error) const {
  return Refuse(Refusal::kConflict, "Unable to allocate inventory: " + error);
}

Status ConsumerWriter::Ensure(const ConsumerInput& input) {
  std::shared_ptr<const Consumer> known = engine_.view().FindConsumer(input.consumer);
  if (input.check_generation) {
    if (known && input.generation != known->generation) {
      return Refuse(Refusal::kConcurrentUpdate, "consumer generation conflict - expected " +
                                                    std::to_string(known->generation) + " but got " +
                                                    Number(input.generation));
    }
    if (!known && input.generation) {
      return Refuse(Refusal::kConcurrentUpdate,
                    "consumer generation conflict - expected null but got " + Number(input.generation));
    }
  }
  if (known && known->is_instance) {
    return Refuse(Refusal::kConflict,
                  "Unable to change allocations of consumer " + input.consumer.ToString() +
                      ": it is an instance of this cloud's own scheduler, which releases it.");
  }
  auto consumer = std::make_shared<Consumer>();
  consumer->uuid = input.consumer;
  consumer->generation = known ? known->generation + 1 : 1;
  consumer->created_at_ms = known ? known->created_at_ms : engine_.at_ms_;
  consumer->updated_at_ms = engine_.at_ms_;
  ResourceDraft& draft = engine_.draft_;
  consumer->project = draft.EnsureProject(input.project.value_or(std::string(kIncompleteId)), engine_.at_ms_);
  consumer->user = draft.EnsureUser(input.user.value_or(std::string(kIncompleteId)), engine_.at_ms_);
  if (input.consumer_type) {
    consumer->type = draft.EnsureConsumerType(*input.consumer_type, engine_.at_ms_);
  } else if (known) {
    consumer->type = known->type;
  }
  next_.push_back(std::move(consumer));
  return OkStatus();
}

Status ConsumerWriter::Prepare() {
  std::set<Uuid> named;
  for (const ConsumerInput& input : inputs_) {
    if (input.consumer.is_nil()) {
      return Refuse(Refusal::kBadRequest,
                    "Consumer " + input.consumer.ToString() + " is no consumer: the nil UUID names nothing.");
    }
    if (!named.insert(input.consumer).second) {
      return Refuse(Refusal::kBadRequest, "Consumer " + input.consumer.ToString() + " is named twice.");
    }
    TRY(Ensure(input));
  }
  for (const ConsumerInput& input : inputs_) {
    std::set<std::pair<Uuid, std::string>> places;
    for (const AllocationInput& allocation : input.allocations) {
      if (!places.emplace(allocation.provider, allocation.resource_class).second) {
        return Refuse(Refusal::kBadRequest, "Allocation of " + allocation.resource_class +
                                                " of resource provider '" + allocation.provider.ToString() +
                                                "' is named twice.");
      }
      if (engine_.view().FindProvider(allocation.provider)) continue;
      return Refuse(Refusal::kBadRequest, "Allocation for resource provider '" +
                                              allocation.provider.ToString() + "' that does not exist.");
    }
  }
  return OkStatus();
}

// The items of one consumer, with numbers for names.
Status ConsumerWriter::Resolve(size_t consumer) {
  const ConsumerInput& input = inputs_[consumer];
  for (const AllocationInput& allocation : input.allocations) {
    auto id = engine_.view().resource_classes().Find(allocation.resource_class);
    if (!id) {
      std::string error = "No such resource class " + allocation.resource_class + ".";
      if (route_ == Route::kPut) {
        error = "Unable to allocate inventory for consumer " + input.consumer.ToString() + ": " + error;
      } else if (route_ == Route::kPost) {
        error = "Unable to allocate inventory " + error;
      } else {
        error = "malformed reshaper data: " + error;
      }
      return Refuse(Refusal::kBadRequest, error);
    }
    items_.push_back({consumer, allocation.provider, *id, allocation.amount});
    Touch(allocation.provider);
  }
  if (!input.allocations.empty()) return OkStatus();
  std::shared_ptr<const Consumer> known = engine_.view().FindConsumer(input.consumer);
  if (!known) return OkStatus();
  for (const Allocation& allocation : known->allocations) {
    items_.push_back({consumer, allocation.provider, allocation.resource_class, 0});
    Touch(allocation.provider);
  }
  return OkStatus();
}

// Each provider has inventory of at least one class of the request.
Status ConsumerWriter::CheckProviders() const {
  std::set<ResourceClassId> classes;
  for (const Item& item : items_) classes.insert(item.resource_class);
  std::string missing;
  for (const Uuid& provider : providers_) {
    ProviderRef at = engine_.view().FindProvider(provider);
    bool any = std::any_of(classes.begin(), classes.end(), [&](ResourceClassId id) {
      return at.tree->Find(at.index, id).inventory != nullptr;
    });
    if (!any) missing += (missing.empty() ? "" : ", ") + provider.ToString();
  }
  if (missing.empty()) return OkStatus();
  std::string names;
  for (ResourceClassId id : classes) {
    names += (names.empty() ? "" : ", ") + engine_.view().resource_classes().name(id);
  }
  return Unable("Inventory for '" + names + "' on resource provider '" + missing + "' invalid.");
}

// `sum`: of this provider and class so far in the request, this item included.
Status ConsumerWriter::CheckItem(const Item& item, int64_t sum) const {
  const std::string provider = item.provider.ToString();
  const std::string& resource_class = engine_.view().resource_classes().name(item.resource_class);
  const std::string what = "'" + resource_class + "' on resource provider '" + provider + "'";
  ProviderRef at = engine_.view().FindProvider(item.provider);
  ProviderTree::Stock stock = at.tree->Find(at.index, item.resource_class);
  if (stock.inventory == nullptr) return Unable("Inventory for " + what + " invalid.");
  if (!stock.inventory->AllowsAmount(item.amount)) {
    return Unable("Unable to create allocation for " + what +
                  ". The requested amount would violate inventory constraints.");
  }
  if (stock.inventory->HasRoom(stock.used, sum)) return OkStatus();
  // Over capacity, but no worse than before: allowed.
  auto before = used_before_.find({item.provider, item.resource_class});
  if (before != used_before_.end() && before->second > 0 && stock.used + sum <= before->second)
    return OkStatus();
  return Unable("Unable to create allocation for " + what +
                ". The requested amount would exceed the capacity.");
}

Status ConsumerWriter::CheckAmounts() const {
  std::map<std::pair<Uuid, ResourceClassId>, int64_t> sums;
  for (const Item& item : items_) {
    if (item.amount == 0) continue;
    int64_t& sum = sums[{item.provider, item.resource_class}];
    sum += item.amount;
    TRY(CheckItem(item, sum));
  }
  return OkStatus();
}

Status ConsumerWriter::Write() {
  for (size_t i = 0; i < inputs_.size(); ++i) TRY(Resolve(i));
  for (const Item& item : items_) {
    ProviderRef at = engine_.view().FindProvider(item.provider);
    used_before_[{item.provider, item.resource_class}] = at.tree->Find(at.index, item.resource_class).used;
  }
  for (const auto& consumer : next_) {
    engine_.draft_.RemoveConsumer(consumer->uuid);
    binder_.Drop(consumer->uuid);
  }
  TRY(CheckProviders());
  TRY(CheckAmounts());
  for (const Item& item : items_) {
    if (item.amount > 0) {
      next_[item.consumer]->allocations.push_back({item.provider, item.resource_class, item.amount});
    }
  }
  for (const auto& consumer : next_) {
    if (consumer->allocations.empty()) continue;
    std::sort(consumer->allocations.begin(), consumer->allocations.end());
    consumer->allocations.shrink_to_fit();
    if (Status bound = binder_.Bind(*consumer); !bound.ok()) return Unable(bound.message());
    engine_.draft_.PutConsumer(consumer);
  }
  engine_.draft_.RaiseGenerations(providers_);
  return OkStatus();
}

Status ResourceEngine::Do(const SetAllocations& command, ClaimBinder& binder) {
  auto route = command.many ? ConsumerWriter::Route::kPost : ConsumerWriter::Route::kPut;
  ConsumerWriter writer(*this, command.consumers, route, binder);
  TRY(writer.Prepare());
  return writer.Write();
}

Status ResourceEngine::Do(const DeleteAllocations& command, ClaimBinder& binder) {
  std::shared_ptr<const Consumer> known = view().FindConsumer(command.consumer);
  if (!known) {
    return Refuse(Refusal::kNotFound, "No allocations for consumer '" + command.consumer.ToString() + "'");
  }
  if (known->is_instance) {
    return Refuse(Refusal::kConflict,
                  "Unable to delete allocations of consumer " + command.consumer.ToString() +
                      ": it is an instance of this cloud's own scheduler, which releases it.");
  }
  draft_.RemoveConsumer(command.consumer);
  binder.Drop(command.consumer);
  return OkStatus();
}

Status ResourceEngine::Do(const Reshape& command, ClaimBinder& binder) {
  std::vector<std::vector<Inventory>> wanted(command.providers.size());
  for (const auto& item : command.providers) {
    const std::string uuid = item.provider.ToString();
    ProviderRef at = view().FindProvider(item.provider);
    if (!at) {
      return Refuse(Refusal::kProviderUnknown,
                    "Resource provider " + uuid +
                        " in inventories not found: No resource provider with uuid " + uuid + " found");
    }
    if (item.generation != at.generation()) {
      return Refuse(Refusal::kConcurrentUpdate, "resource provider generation conflict for provider " + uuid +
                                                    ": actual: " + std::to_string(at.generation()) +
                                                    ", given: " + std::to_string(item.generation));
    }
    TRY(RefuseIfAgents(at, "inventories"));
  }
  ConsumerWriter writer(*this, command.consumers, ConsumerWriter::Route::kReshape, binder);
  TRY(writer.Prepare());
  // First the union of old and new, so that old allocations and new ones have their inventories.
  for (size_t i = 0; i < command.providers.size(); ++i) {
    const auto& item = command.providers[i];
    std::set<std::string> named;
    for (const InventoryInput& input : item.inventories) {
      if (!named.insert(input.resource_class).second) {
        return Refuse(Refusal::kBadRequest,
                      "Inventory of class " + input.resource_class + " is named twice.");
      }
      Result<Inventory> inventory = MakeInventory(input);
      if (!inventory) {
        return Refuse(Refusal::kBadRequest, "malformed reshaper data: " + inventory.status().message());
      }
      wanted[i].push_back(*inventory);
    }
    if (item.inventories.empty()) continue;
    ProviderRef at = view().FindProvider(item.provider);
    std::map<ResourceClassId, Inventory> all;
    for (const Inventory& inventory : at.tree->inventories(at.index))
      all[inventory.resource_class] = inventory;
    for (const Inventory& inventory : wanted[i]) all[inventory.resource_class] = inventory;
    std::vector<Inventory> list;
    for (const auto& [id, inventory] : all) list.push_back(inventory);
    TRY(ReplaceInventories(at, std::move(list)));
  }
  TRY(writer.Write());
  for (size_t i = 0; i < command.providers.size(); ++i) {
    ProviderRef at = view().FindProvider(command.providers[i].provider);
    if (Status in_use = ReplaceInventories(at, std::move(wanted[i])); !in_use.ok()) {
      return Refuse(Refusal::kInventoryInUse, "update conflict: " + in_use.message());
    }
  }
  return OkStatus();
}

}  // namespace berth::placement
