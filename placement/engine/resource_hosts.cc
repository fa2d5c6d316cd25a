#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "placement/engine/resource_engine.h"
#include "placement/model/projection.h"

// Hosts and claims as trees and consumers (placement/model/projection.h).
namespace berth::placement {
namespace {

template <class T>
void SortUnique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

template <class T>
bool Contains(const std::vector<T>& sorted, const T& value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

// What clients have added to or taken from a provider's traits stays so when a report changes.
std::vector<TraitId> MergeTraits(std::span<const TraitId> now, const std::vector<TraitId>& before,
                                 const std::vector<TraitId>& after) {
  std::vector<TraitId> merged;
  for (TraitId id : now) {
    if (!Contains(before, id) || Contains(after, id)) merged.push_back(id);
  }
  for (TraitId id : after) {
    if (!Contains(before, id)) merged.push_back(id);
  }
  SortUnique(merged);
  return merged;
}

bool ByClass(const Inventory& a, const Inventory& b) {
  return a.resource_class < b.resource_class;
}

// Full for everybody but those who are in it.
Inventory Kept(Inventory inventory) {
  inventory.reserved = inventory.total;
  return inventory;
}

// Every allocation in `held` finds its provider and inventory. `known`: the tree before, or nullptr.
void KeepUsed(const ProviderTree* known, const HostReport& report, std::span<const Allocation> held,
              std::vector<Provider>& providers) {
  std::unordered_map<Uuid, size_t> index;
  for (size_t i = 0; i < providers.size(); ++i) index[providers[i].uuid] = i;
  for (const Allocation& allocation : held) {
    auto found = index.find(allocation.provider);
    const uint32_t was = known == nullptr ? ProviderTree::kNone : known->FindProvider(allocation.provider);
    if (found == index.end()) {
      Provider kept;
      if (was != ProviderTree::kNone) {
        kept = known->At(was);
      } else {
        kept.uuid = allocation.provider;
        kept.name = NameOfProvider(report, allocation.provider);
      }
      if (!index.contains(kept.parent)) kept.parent = providers.front().uuid;
      kept.inventories.clear();
      kept.used.clear();
      found = index.emplace(kept.uuid, providers.size()).first;
      providers.push_back(std::move(kept));
    }
    Provider& provider = providers[found->second];
    auto at =
        std::lower_bound(provider.inventories.begin(), provider.inventories.end(), allocation.resource_class,
                         [](const Inventory& i, ResourceClassId id) { return i.resource_class < id; });
    if (at != provider.inventories.end() && at->resource_class == allocation.resource_class) continue;
    ProviderTree::Stock stock =
        was == ProviderTree::kNone ? ProviderTree::Stock{} : known->Find(was, allocation.resource_class);
    Inventory inventory{.resource_class = allocation.resource_class, .total = allocation.amount};
    if (stock.inventory != nullptr) inventory = *stock.inventory;
    provider.inventories.insert(at, Kept(inventory));
    provider.used.push_back(0);
  }
}

// What clients have put below the host's providers is no matter of its reports.
void AppendGuests(const ProviderTree& known, std::vector<Provider>& providers) {
  for (uint32_t i = 0; i < known.size(); ++i) {
    if (known.owner(i) == TreeOwner::kAgent) continue;
    providers.push_back(known.At(i));
    providers.back().used.assign(providers.back().inventories.size(), 0);
  }
}

// Guests whose parent the host no longer has go below its root, which is the first.
void AdoptOrphans(uint64_t at_ms, std::vector<Provider>& providers) {
  std::set<Uuid> known;
  for (const Provider& provider : providers) known.insert(provider.uuid);
  for (Provider& provider : providers) {
    if (!provider.guest || known.contains(provider.parent)) continue;
    provider.parent = providers.front().uuid;
    provider.updated_at_ms = at_ms;
  }
}

}  // namespace

std::vector<TraitId> ResourceEngine::TraitIds(const std::vector<std::string>& names) {
  std::vector<TraitId> ids;
  for (const std::string& name : names) {
    auto known = view().traits().Find(name);
    ids.push_back(known ? *known : draft_.AddTrait(name, at_ms_));
  }
  SortUnique(ids);
  return ids;
}

Status ResourceEngine::CheckHost(const HostReport& report) const {
  ProviderRef own = view().FindProvider(report.uuid);
  if (own && own.tree->owner() != TreeOwner::kAgent) {
    return Status(StatusCode::kAlreadyExists,
                  "resource provider " + report.uuid.ToString() + " (\"" + std::string(own.name()) +
                      "\") of a REST client has the host's UUID",
                  "uuid", "delete that provider first");
  }
  if (own && own.index != 0) {
    return Status(StatusCode::kAlreadyExists,
                  "host \"" + report.name + "\" has the UUID " + report.uuid.ToString() + " of provider \"" +
                      std::string(own.name()) + "\" of host \"" + std::string(own.tree->name(0)) + "\"",
                  "uuid", "give the host another one");
  }
  const std::vector<ProjectedProvider> projected = ProjectHost(report);
  TRY(CheckHostNames(projected));
  for (const ProjectedProvider& provider : projected) {
    for (ProviderRef other : {view().FindProvider(provider.name), view().FindProvider(provider.uuid)}) {
      if (!other) continue;
      if (own && other.slot == own.slot && other.tree->owner(other.index) == TreeOwner::kAgent) continue;
      return Status(StatusCode::kAlreadyExists,
                    "resource provider " + other.uuid().ToString() + " has the name \"" +
                        std::string(other.name()) + "\" or the UUID of a provider of host \"" + report.name +
                        "\"",
                    "name", "delete or rename that provider first");
    }
  }
  return OkStatus();
}

std::vector<Provider> ResourceEngine::ProjectedTree(const HostReport* before, const HostReport& report,
                                                    ProviderRef known) {
  std::map<Uuid, std::vector<TraitId>> traits_before;
  if (before != nullptr) {
    for (const ProjectedProvider& p : ProjectHost(*before)) traits_before[p.uuid] = TraitIds(p.traits);
  }
  std::vector<Provider> providers;
  for (const ProjectedProvider& projected : ProjectHost(report)) {
    Provider provider;
    uint32_t was = known ? known.tree->FindProvider(projected.uuid) : ProviderTree::kNone;
    if (was != ProviderTree::kNone) provider = known.tree->At(was);
    std::vector<Inventory> inventories;
    for (const auto& [name, inventory] : projected.inventories) {
      auto id = view().resource_classes().Find(name);
      inventories.push_back(inventory);
      inventories.back().resource_class = id ? *id : draft_.AddResourceClass(name, at_ms_);
    }
    std::sort(inventories.begin(), inventories.end(), ByClass);
    std::vector<TraitId> traits =
        MergeTraits(provider.traits, traits_before[projected.uuid], TraitIds(projected.traits));
    bool moved = provider.name != projected.name || provider.parent != projected.parent;
    if (was == ProviderTree::kNone) {
      provider.created_at_ms = at_ms_;
    } else if (moved) {
      provider.updated_at_ms = at_ms_;
    }
    provider.uuid = projected.uuid;
    provider.name = projected.name;
    provider.parent = projected.parent;
    provider.traits = std::move(traits);
    provider.inventories = std::move(inventories);
    provider.used.assign(provider.inventories.size(), 0);
    providers.push_back(std::move(provider));
  }
  return providers;
}

void ResourceEngine::PutHost(const HostReport* before, const HostReport& report,
                             const std::vector<std::shared_ptr<const Claim>>& claims) {
  ProviderRef known = view().FindProvider(report.uuid);
  std::vector<Provider> providers = ProjectedTree(before, report, known);
  if (!known) {
    // Claims come with a host only from a store that is older than the Placement model.
    for (const auto& claim : claims) {
      if (claim->external) continue;
      KeepUsed(nullptr, report, InstanceConsumer(report, *claim)->allocations, providers);
    }
    draft_.AddTree(ProviderTree::Make(std::move(providers), TreeOwner::kAgent));
    return;
  }
  AppendGuests(*known.tree, providers);
  // All who hold something of the tree; instances as the new report describes them.
  std::map<Uuid, std::shared_ptr<const Consumer>> consumers;
  for (uint32_t i = 0; i < known.tree->size(); ++i) {
    for (auto& consumer : view().ConsumersOf(known.tree->uuid(i)))
      consumers.emplace(consumer->uuid, consumer);
  }
  for (const auto& claim : claims) {
    if (claim->external) continue;  // its consumer is a client's, and may be gone in this very command
    auto at = consumers.find(claim->consumer);
    bool instance = at == consumers.end() ? !view().FindConsumer(claim->consumer) : at->second->is_instance;
    if (instance) consumers[claim->consumer] = InstanceConsumer(report, *claim);
  }
  std::vector<Allocation> held;
  for (const auto& [uuid, consumer] : consumers) {
    for (const Allocation& allocation : consumer->allocations) {
      bool here = consumer->is_instance ||
                  known.tree->FindProvider(allocation.provider) != ProviderTree::kNone ||
                  std::any_of(providers.begin(), providers.end(),
                              [&](const Provider& p) { return p.uuid == allocation.provider; });
      if (here) held.push_back(allocation);
    }
  }
  KeepUsed(known.tree.get(), report, held, providers);
  AdoptOrphans(at_ms_, providers);
  for (Provider& provider : providers) {
    uint32_t was = known.tree->FindProvider(provider.uuid);
    if (was == ProviderTree::kNone) continue;
    auto old = known.tree->inventories(was);
    bool same_inventories =
        std::equal(old.begin(), old.end(), provider.inventories.begin(), provider.inventories.end());
    if (!same_inventories) provider.inventories_at_ms = at_ms_;
    if (!same_inventories || !std::ranges::equal(known.tree->traits(was), provider.traits))
      ++provider.generation;
  }
  for (const auto& [uuid, consumer] : consumers) draft_.RemoveConsumer(uuid);
  draft_.ReplaceTree(known.slot, ProviderTree::Make(std::move(providers), TreeOwner::kAgent));
  for (const auto& [uuid, consumer] : consumers) {
    if (!consumer->allocations.empty()) draft_.PutConsumer(consumer);
  }
}

bool ResourceEngine::HostInUse(const HostReport& report) const {
  ProviderRef at = view().FindProvider(report.uuid);
  for (uint32_t i = 0; at && i < at.tree->size(); ++i) {
    if (at.tree->InUse(i)) return true;
  }
  return false;
}

void ResourceEngine::DropHost(const HostReport& report) {
  ProviderRef at = view().FindProvider(report.uuid);
  if (at) draft_.RemoveTree(at.slot);
}

std::shared_ptr<const Consumer> ResourceEngine::InstanceConsumer(const HostReport& host, const Claim& claim) {
  auto consumer = std::make_shared<Consumer>();
  consumer->uuid = claim.consumer;
  consumer->generation = 1;
  consumer->project = draft_.EnsureProject(std::string(kIncompleteId), at_ms_);
  consumer->user = draft_.EnsureUser(std::string(kIncompleteId), at_ms_);
  consumer->is_instance = true;
  consumer->created_at_ms = consumer->updated_at_ms = claim.created_at_ms;
  for (const ProjectedAllocation& part : ProjectClaim(host, claim)) {
    auto id = view().resource_classes().Find(part.resource_class);
    consumer->allocations.push_back({part.provider,
                                     id ? *id : draft_.AddResourceClass(part.resource_class, at_ms_),
                                     static_cast<int32_t>(std::min<int64_t>(part.amount, kMaxAmount))});
  }
  std::sort(consumer->allocations.begin(), consumer->allocations.end());
  return consumer;
}

void ResourceEngine::PutInstance(const HostReport& host, const Claim& claim) {
  std::shared_ptr<const Consumer> consumer = InstanceConsumer(host, claim);
  if (consumer->allocations.empty()) return;
  std::vector<Uuid> providers;
  for (const Allocation& allocation : consumer->allocations) providers.push_back(allocation.provider);
  SortUnique(providers);
  draft_.PutConsumer(std::move(consumer));
  draft_.RaiseGenerations(providers);
}

void ResourceEngine::DropInstance(const Uuid& consumer) {
  std::shared_ptr<const Consumer> known = view().FindConsumer(consumer);
  if (!known || !known->is_instance) return;
  std::vector<Uuid> providers;
  for (const Allocation& allocation : known->allocations) providers.push_back(allocation.provider);
  SortUnique(providers);
  draft_.RemoveConsumer(consumer);
  draft_.RaiseGenerations(providers);
}

}  // namespace berth::placement
