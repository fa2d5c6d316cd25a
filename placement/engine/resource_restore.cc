#include <algorithm>
#include <string>
#include <unordered_map>

#include "placement/engine/resource_engine.h"

// The Placement model from a store, and back.
namespace berth::placement {
namespace {

template <class Id, class Name>
void ExportTable(db::NameKind kind, const NameTable<Id, Name>& table, std::vector<db::NameRecord>& names) {
  table.ForEach([&](Id id, const auto& entry) {
    std::string name;
    if constexpr (std::is_same_v<Name, Uuid>) {
      name = entry.name.ToString();
    } else {
      name = entry.name;
    }
    names.push_back(
        {kind, static_cast<uint32_t>(id), std::move(name), entry.created_at_ms, entry.updated_at_ms});
  });
}

template <class Id>
bool Ascends(const std::vector<Id>& ids) {
  return std::adjacent_find(ids.begin(), ids.end(), [](Id a, Id b) { return a >= b; }) == ids.end();
}

}  // namespace

Status ResourceEngine::Restore(const db::Contents& contents) {
  TRY(RestoreNames(contents));
  TRY(RestoreTrees(contents));
  // A store from before the Placement model has hosts without trees.
  std::unordered_map<Uuid, std::vector<std::shared_ptr<const Claim>>> claims;
  for (const auto& claim : contents.claims) claims[claim->host].push_back(claim);
  for (const db::HostRecord& host : contents.hosts) {
    if (view().FindProvider(host.effective->uuid)) continue;
    TRY(CheckHost(*host.effective));
    PutHost(nullptr, *host.effective, claims[host.effective->uuid]);
  }
  ResourceDraft::Touched touched = draft_.TakeTouched();
  StoreNames(touched, startup_);
  StoreTrees(touched.trees, startup_);
  TRY(RestoreConsumers(contents));
  audit_ = committed_audit_ = contents.audit;
  draft_.set_sequence(audit_);
  changed_ = true;
  return OkStatus();
}

Status ResourceEngine::RestoreNames(const db::Contents& contents) {
  draft_.ClearNames();
  for (const db::NameRecord& record : contents.names) {
    const std::string what = "stored name \"" + record.name + "\"";
    if (record.id >= kMostNames) return DataLoss(what + " has the number " + std::to_string(record.id));
    auto restore = [&](auto id, auto name, const auto& table) -> Status {
      if (table.Has(id) || table.Find(name)) return DataLoss(what + " or its number is there twice");
      draft_.RestoreName(id, std::move(name), record.created_at_ms, record.updated_at_ms);
      return OkStatus();
    };
    switch (record.kind) {
      case db::NameKind::kResourceClass:
        TRY(restore(ResourceClassId{record.id}, record.name, view().resource_classes()));
        break;
      case db::NameKind::kTrait:
        TRY(restore(TraitId{record.id}, record.name, view().traits()));
        break;
      case db::NameKind::kAggregate: {
        TRY_ASSIGN(Uuid uuid, Uuid::Parse(record.name));
        TRY(restore(AggregateId{record.id}, uuid, view().aggregates()));
        break;
      }
      case db::NameKind::kProject:
        TRY(restore(ProjectId{record.id}, record.name, view().projects()));
        break;
      case db::NameKind::kUser:
        TRY(restore(UserId{record.id}, record.name, view().users()));
        break;
      case db::NameKind::kConsumerType:
        TRY(restore(ConsumerTypeId{record.id}, record.name, view().consumer_types()));
        break;
      default:
        return DataLoss(what + " is of no known kind");
    }
  }
  (void)draft_.TakeTouched();
  draft_.AddStandardNames();
  StoreNames(draft_.TakeTouched(), startup_);
  return OkStatus();
}

Status ResourceEngine::RestoreTrees(const db::Contents& contents) {
  // Roots in the order of their creation, then by UUID: as good as the order in which they came.
  std::unordered_map<Uuid, size_t> index;
  for (size_t i = 0; i < contents.providers.size(); ++i) {
    const Provider& provider = contents.providers[i].provider;
    if (provider.uuid.is_nil()) return DataLoss("stored provider \"" + provider.name + "\" has no UUID");
    if (!index.emplace(provider.uuid, i).second) {
      return DataLoss("stored provider " + provider.uuid.ToString() + " is there twice");
    }
  }
  std::unordered_map<std::string_view, bool> names;
  std::unordered_map<Uuid, std::vector<Provider>> trees;
  std::vector<const db::ProviderRecord*> roots;
  for (const db::ProviderRecord& record : contents.providers) {
    Provider provider = record.provider;
    auto what = [&record] { return "stored provider " + record.provider.uuid.ToString(); };
    if (!names.emplace(record.provider.name, true).second)
      return DataLoss(what() + " has a name that is there twice");
    for (size_t i = 0; i < provider.inventories.size(); ++i) {
      if (!view().resource_classes().Has(provider.inventories[i].resource_class) ||
          (i > 0 && provider.inventories[i - 1].resource_class >= provider.inventories[i].resource_class)) {
        return DataLoss(what() + " has inventory of an unknown class, or twice");
      }
    }
    bool known = Ascends(provider.traits) && Ascends(provider.aggregates);
    for (TraitId id : provider.traits) known = known && view().traits().Has(id);
    for (AggregateId id : provider.aggregates) known = known && view().aggregates().Has(id);
    if (!known) return DataLoss(what() + " has unknown traits or aggregates");
    provider.used.assign(provider.inventories.size(), 0);
    // Up to the root; as many steps as there are providers mean a circle.
    const db::ProviderRecord* root = &record;
    bool below_clients = false;
    for (size_t steps = 0; !root->provider.parent.is_nil(); ++steps) {
      auto parent = index.find(root->provider.parent);
      if (parent == index.end() || steps > contents.providers.size()) {
        return DataLoss(what() + " has no root");
      }
      root = &contents.providers[parent->second];
      below_clients = below_clients || root->owner == TreeOwner::kClients;
    }
    if (record.owner == TreeOwner::kAgent && below_clients) {
      return DataLoss(what() + " is an agent's, below a provider that is not");
    }
    provider.guest = record.owner != root->owner;
    if (root == &record) roots.push_back(root);
    trees[root->provider.uuid].push_back(std::move(provider));
  }
  std::stable_sort(roots.begin(), roots.end(), [](const auto* a, const auto* b) {
    return a->provider.created_at_ms < b->provider.created_at_ms;
  });
  std::unordered_map<Uuid, const std::vector<uint64_t>*> generations;
  for (const db::TreeGenerations& tree : contents.generations) generations[tree.root] = &tree.generations;
  for (const db::ProviderRecord* root : roots) {
    auto tree = ProviderTree::Make(std::move(trees[root->provider.uuid]), root->owner);
    auto stored = generations.find(root->provider.uuid);
    if (stored == generations.end() || stored->second->size() != tree->size()) {
      return DataLoss("stored tree " + root->provider.uuid.ToString() +
                      " lacks generations of its providers");
    }
    draft_.AddTree(tree->WithGenerations(*stored->second));
  }
  if (generations.size() != roots.size())
    return DataLoss("there are stored generations of trees that are not");
  (void)draft_.TakeTouched();
  return OkStatus();
}

Status ResourceEngine::RestoreConsumers(const db::Contents& contents) {
  std::vector<std::shared_ptr<const Consumer>> all = contents.consumers;
  auto before = [](const auto& a, const auto& b) { return a->uuid < b->uuid; };
  if (!std::is_sorted(all.begin(), all.end(), before)) std::sort(all.begin(), all.end(), before);
  if (std::adjacent_find(all.begin(), all.end(),
                         [](const auto& a, const auto& b) { return a->uuid == b->uuid; }) != all.end()) {
    return DataLoss("a stored consumer is there twice");
  }
  const size_t stored = all.size();
  auto known = [&](const Uuid& uuid) {
    auto end = all.begin() + static_cast<ptrdiff_t>(stored);
    auto at =
        std::lower_bound(all.begin(), end, uuid, [](const auto& c, const Uuid& id) { return c->uuid < id; });
    return at != end && (*at)->uuid == uuid;
  };
  std::unordered_map<Uuid, const HostReport*> hosts;
  for (const db::HostRecord& host : contents.hosts) hosts[host.effective->uuid] = host.effective.get();
  for (const auto& claim : contents.claims) {
    if (known(claim->consumer)) continue;
    if (claim->external) return DataLoss("stored claim \"" + claim->name + "\" has no consumer");
    auto consumer = InstanceConsumer(*hosts[claim->host], *claim);
    if (!consumer->allocations.empty()) all.push_back(std::move(consumer));
  }
  for (const auto& consumer : all) {
    auto what = [&consumer] { return "stored consumer " + consumer->uuid.ToString(); };
    if (consumer->uuid.is_nil()) return DataLoss(what() + " has no UUID");
    if (consumer->allocations.empty()) return DataLoss(what() + " holds nothing");
    if (!view().projects().Has(consumer->project) || !view().users().Has(consumer->user) ||
        !view().consumer_types().Has(consumer->type)) {
      return DataLoss(what() + " has an unknown project, user or type");
    }
    for (size_t i = 0; i < consumer->allocations.size(); ++i) {
      const Allocation& allocation = consumer->allocations[i];
      const bool ordered = i == 0 || std::pair(consumer->allocations[i - 1].provider,
                                               consumer->allocations[i - 1].resource_class) <
                                         std::pair(allocation.provider, allocation.resource_class);
      if (!ordered || allocation.amount < 1)
        return DataLoss(what() + " has allocations out of order or of nothing");
    }
  }
  StoreNames(draft_.TakeTouched(), startup_);  // of instances
  if (const Consumer* bad = draft_.AddConsumers(all)) {
    return DataLoss("stored consumer " + bad->uuid.ToString() +
                    " has allocations of inventory that is not there");
  }
  (void)draft_.TakeTouched();
  return OkStatus();
}

void ResourceEngine::Export(db::Contents& contents) const {
  ExportTable(db::NameKind::kResourceClass, view().resource_classes(), contents.names);
  ExportTable(db::NameKind::kTrait, view().traits(), contents.names);
  ExportTable(db::NameKind::kAggregate, view().aggregates(), contents.names);
  ExportTable(db::NameKind::kProject, view().projects(), contents.names);
  ExportTable(db::NameKind::kUser, view().users(), contents.names);
  ExportTable(db::NameKind::kConsumerType, view().consumer_types(), contents.names);
  // "unknown" is always there.
  std::erase_if(contents.names, [](const db::NameRecord& name) {
    return name.kind == db::NameKind::kConsumerType && ConsumerTypeId{name.id} == kNoConsumerType;
  });
  for (TreeSlot slot = 0; slot < view().slots(); ++slot) {
    const auto& tree = view().tree(slot);
    for (uint32_t i = 0; tree && i < tree->size(); ++i) {
      db::ProviderRecord record{tree->At(i), tree->owner(i)};
      record.provider.used.clear();
      record.provider.generation = 0;
      contents.providers.push_back(std::move(record));
    }
    if (!tree) continue;
    db::TreeGenerations generations{tree->uuid(0), {}};
    for (uint32_t i = 0; i < tree->size(); ++i) generations.generations.push_back(tree->generation(i));
    contents.generations.push_back(std::move(generations));
  }
  std::sort(contents.providers.begin(), contents.providers.end(),
            [](const auto& a, const auto& b) { return a.provider.uuid < b.provider.uuid; });
  std::sort(contents.generations.begin(), contents.generations.end(),
            [](const auto& a, const auto& b) { return a.root < b.root; });
  view().ForEachConsumer([&](const std::shared_ptr<const Consumer>& consumer) {
    if (!consumer->is_instance) contents.consumers.push_back(consumer);
  });
  std::sort(contents.consumers.begin(), contents.consumers.end(),
            [](const auto& a, const auto& b) { return a->uuid < b->uuid; });
  contents.audit = committed_audit_;
}

}  // namespace berth::placement
