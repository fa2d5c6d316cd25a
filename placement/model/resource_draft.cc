#include "placement/model/resource_draft.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "placement/model/names.h"

namespace berth::placement {
namespace {

uint64_t HashOf(const Uuid& uuid) {
  return std::hash<Uuid>()(uuid);
}

// What a list of all providers' ids has, ascending, once each.
template <class Id, class Lists>
std::vector<Id> Distinct(const ProviderTree* tree, Lists&& lists) {
  std::vector<Id> ids;
  if (tree == nullptr) return ids;
  for (uint32_t i = 0; i < tree->size(); ++i) lists(*tree, i, ids);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::vector<ResourceClassId> ClassesOf(const ProviderTree* tree) {
  return Distinct<ResourceClassId>(tree, [](const ProviderTree& t, uint32_t i, auto& ids) {
    for (const Inventory& inventory : t.inventories(i)) ids.push_back(inventory.resource_class);
  });
}
std::vector<TraitId> TraitsOf(const ProviderTree* tree) {
  return Distinct<TraitId>(tree, [](const ProviderTree& t, uint32_t i, auto& ids) {
    ids.insert(ids.end(), t.traits(i).begin(), t.traits(i).end());
  });
}
std::vector<AggregateId> AggregatesOf(const ProviderTree* tree) {
  return Distinct<AggregateId>(tree, [](const ProviderTree& t, uint32_t i, auto& ids) {
    ids.insert(ids.end(), t.aggregates(i).begin(), t.aggregates(i).end());
  });
}

void AddTo(UsageGroup& group, ResourceClassId id, int64_t amount) {
  auto at = std::lower_bound(group.used.begin(), group.used.end(), id,
                             [](const auto& entry, ResourceClassId wanted) { return entry.first < wanted; });
  if (at == group.used.end() || at->first != id) at = group.used.insert(at, {id, 0});
  at->second += amount;
}

// Each provider of a consumer once; allocations ascend by provider.
template <class F>
void ForEachProvider(const Consumer& consumer, F&& visit) {
  for (size_t i = 0; i < consumer.allocations.size(); ++i) {
    if (i == 0 || consumer.allocations[i].provider != consumer.allocations[i - 1].provider) {
      visit(consumer.allocations[i].provider);
    }
  }
}

}  // namespace

void ResourceDraft::ClearNames() {
  view_.classes_ = {};
  view_.traits_ = {};
  view_.aggregates_ = {};
  view_.projects_ = {};
  view_.users_ = {};
  view_.types_ = {};
}

void ResourceDraft::AddStandardNames() {
  for (std::string_view name : StandardResourceClasses()) {
    if (!view_.classes_.Find(name)) AddResourceClass(std::string(name), 0);
  }
  for (std::string_view name : StandardTraits()) {
    if (!view_.traits_.Find(name)) AddTrait(std::string(name), 0);
  }
  if (!view_.types_.Has(kNoConsumerType)) view_.types_.Restore(edit_, kNoConsumerType, "unknown", 0, 0);
  view_.sharing_trait_ = *view_.traits_.Find(std::string_view("MISC_SHARES_VIA_AGGREGATE"));
}

TreeSlot ResourceDraft::AddTree(std::shared_ptr<const ProviderTree> tree) {
  TreeSlot slot = 0;
  if (view_.free_count_ > 0) {
    slot = view_.free_slots_[--view_.free_count_];
  } else {
    slot = view_.slots();
    view_.trees_.PushBack(edit_, nullptr);
  }
  auto all = std::make_shared<SlotSet>(*view_.all_);
  all->Add(slot);
  view_.all_ = std::move(all);
  ReplaceTree(slot, tree);
  return slot;
}

void ResourceDraft::ReplaceTree(TreeSlot slot, const std::shared_ptr<const ProviderTree>& tree) {
  std::shared_ptr<const ProviderTree> before = view_.trees_[slot];
  touched_.trees.push_back(slot);
  view_.trees_.Edit(edit_, slot) = tree;
  view_.room_.Update(edit_, slot, before.get(), tree.get());
  if (before && tree && before->SharesShape(*tree)) return;
  IndexProviders(slot, before.get(), tree.get());
  IndexContents(slot, before.get(), tree.get());
}

void ResourceDraft::RemoveTree(TreeSlot slot) {
  ReplaceTree(slot, nullptr);
  auto all = std::make_shared<SlotSet>(*view_.all_);
  all->Remove(slot);
  view_.all_ = std::move(all);
  if (view_.free_count_ < view_.free_slots_.size()) {
    view_.free_slots_.Edit(edit_, view_.free_count_) = slot;
  } else {
    view_.free_slots_.PushBack(edit_, slot);
  }
  ++view_.free_count_;
}

void ResourceDraft::IndexProviders(TreeSlot slot, const ProviderTree* before, const ProviderTree* after) {
  std::unordered_map<Uuid, int> uuids;
  std::map<std::string_view, int> names;
  for (uint32_t i = 0; before != nullptr && i < before->size(); ++i) {
    --uuids[before->uuid(i)];
    --names[before->name(i)];
  }
  for (uint32_t i = 0; after != nullptr && i < after->size(); ++i) {
    ++uuids[after->uuid(i)];
    ++names[after->name(i)];
  }
  auto apply = [&](ResourceView::SlotIndex& index, uint64_t hash, int change) {
    if (change < 0) index.Erase(edit_, hash, [&](const auto& entry) { return entry.slot == slot; });
    if (change > 0) index.Add(edit_, {hash, slot});
  };
  for (const auto& [uuid, change] : uuids) apply(view_.by_uuid_, HashOf(uuid), change);
  for (const auto& [name, change] : names) {
    apply(view_.by_name_, std::hash<std::string_view>()(name), change);
  }
}

template <class Id>
void ResourceDraft::Diff(ResourceView::SetIndex& index, TreeSlot slot, const std::vector<Id>& before,
                         const std::vector<Id>& after) {
  auto change = [&](Id id, bool add) {
    auto i = static_cast<size_t>(id);
    while (index.size() <= i) index.PushBack(edit_, nullptr);
    auto set = index[i] ? std::make_shared<SlotSet>(*index[i]) : std::make_shared<SlotSet>();
    add ? set->Add(slot) : set->Remove(slot);
    index.Edit(edit_, i) = std::move(set);
  };
  for (Id id : before) {
    if (!std::binary_search(after.begin(), after.end(), id)) change(id, false);
  }
  for (Id id : after) {
    if (!std::binary_search(before.begin(), before.end(), id)) change(id, true);
  }
}

void ResourceDraft::IndexContents(TreeSlot slot, const ProviderTree* before, const ProviderTree* after) {
  Diff(view_.with_class_, slot, ClassesOf(before), ClassesOf(after));
  Diff(view_.with_trait_, slot, TraitsOf(before), TraitsOf(after));
  Diff(view_.in_aggregate_, slot, AggregatesOf(before), AggregatesOf(after));
}

void ResourceDraft::PutConsumer(const std::shared_ptr<const Consumer>& consumer) {
  RemoveConsumer(consumer->uuid);
  ChangeUsage(*consumer, 1);
  Enter(consumer);
}

void ResourceDraft::Enter(const std::shared_ptr<const Consumer>& consumer) {
  touched_.consumers.push_back(consumer->uuid);
  ChangeGroup(*consumer, 1);
  ForEachProvider(*consumer, [&](const Uuid& provider) { AddHolders(provider, {&consumer->uuid, 1}); });
  view_.allocation_count_ += consumer->allocations.size();
  view_.consumers_.Add(edit_, consumer);
}

void ResourceDraft::RemoveConsumer(const Uuid& uuid) {
  std::shared_ptr<const Consumer> consumer = view_.FindConsumer(uuid);
  if (!consumer) return;
  touched_.consumers.push_back(uuid);
  ChangeUsage(*consumer, -1);
  ChangeGroup(*consumer, -1);
  ForEachProvider(*consumer, [&](const Uuid& provider) { DropHolder(provider, uuid); });
  view_.allocation_count_ -= consumer->allocations.size();
  view_.consumers_.Erase(edit_, HashOf(uuid), [&](const auto& c) { return c->uuid == uuid; });
}

const Consumer* ResourceDraft::AddConsumers(const std::vector<std::shared_ptr<const Consumer>>& consumers) {
  // By slot: what changes in the tree, and who holds something of which of its providers.
  struct Load {
    std::vector<ProviderTree::UsageChange> changes;
    std::vector<std::pair<uint32_t, Uuid>> holders;
  };
  std::vector<Load> loads(view_.slots());
  // Found faster here than by the view, which looks through the tree for it.
  std::unordered_map<Uuid, std::pair<TreeSlot, uint32_t>> places;
  places.reserve(view_.provider_count());
  for (TreeSlot slot = 0; slot < view_.slots(); ++slot) {
    const auto& tree = view_.trees_[slot];
    for (uint32_t i = 0; tree && i < tree->size(); ++i) places.emplace(tree->uuid(i), std::pair(slot, i));
  }
  std::map<std::tuple<ProjectId, UserId, ConsumerTypeId>, UsageGroup> groups;
  for (const auto& consumer : consumers) {
    UsageGroup& group = groups[{consumer->project, consumer->user, consumer->type}];
    ++group.consumers;
    auto at = places.end();
    for (const Allocation& allocation : consumer->allocations) {
      const bool next = at == places.end() || at->first != allocation.provider;
      if (next) at = places.find(allocation.provider);
      if (at == places.end()) return consumer.get();
      const auto [slot, index] = at->second;
      if (next) loads[slot].holders.emplace_back(index, consumer->uuid);
      if (view_.trees_[slot]->Find(index, allocation.resource_class).inventory == nullptr) {
        return consumer.get();
      }
      loads[slot].changes.push_back({index, allocation.resource_class, allocation.amount});
      AddTo(group, allocation.resource_class, allocation.amount);
    }
    touched_.consumers.push_back(consumer->uuid);
    view_.allocation_count_ += consumer->allocations.size();
    view_.consumers_.Add(edit_, consumer);
  }
  for (TreeSlot slot = 0; slot < loads.size(); ++slot) {
    Load& load = loads[slot];
    if (load.changes.empty()) continue;
    ReplaceTree(slot, view_.trees_[slot]->WithUsage(load.changes, {}));
    std::sort(load.holders.begin(), load.holders.end());
    std::vector<Uuid> holders;
    for (size_t i = 0; i < load.holders.size(); ++i) {
      holders.push_back(load.holders[i].second);
      if (i + 1 < load.holders.size() && load.holders[i + 1].first == load.holders[i].first) continue;
      AddHolders(view_.trees_[slot]->uuid(load.holders[i].first), holders);
      holders.clear();
    }
  }
  for (auto& [key, group] : groups) {
    std::tie(group.project, group.user, group.type) = key;
    MergeGroup(group, 1);
  }
  return nullptr;
}

void ResourceDraft::RaiseGenerations(std::span<const Uuid> providers) {
  for (const Uuid& provider : providers) {
    ProviderRef at = view_.FindProvider(provider);
    CHECK(at);
    ReplaceTree(at.slot, at.tree->WithUsage({}, std::span(&at.index, 1)));
  }
}

void ResourceDraft::ChangeUsage(const Consumer& consumer, int64_t sign) {
  // Few providers, mostly of one tree, in few runs.
  std::vector<ProviderTree::UsageChange> changes;
  ProviderRef at;
  auto flush = [&] {
    if (!changes.empty()) ReplaceTree(at.slot, view_.trees_[at.slot]->WithUsage(changes, {}));
    changes.clear();
  };
  for (const Allocation& allocation : consumer.allocations) {
    if (!at || at.uuid() != allocation.provider) {
      ProviderRef next = view_.FindProvider(allocation.provider);
      CHECK(next);
      if (at && next.slot != at.slot) flush();
      at = next;
    }
    changes.push_back({at.index, allocation.resource_class, sign * allocation.amount});
  }
  flush();
}

void ResourceDraft::ChangeGroup(const Consumer& consumer, int64_t sign) {
  UsageGroup part{consumer.project, consumer.user, consumer.type, 1, {}};
  for (const Allocation& allocation : consumer.allocations) {
    AddTo(part, allocation.resource_class, allocation.amount);
  }
  MergeGroup(part, sign);
}

void ResourceDraft::MergeGroup(const UsageGroup& part, int64_t sign) {
  auto group = std::make_shared<UsageGroup>(UsageGroup{part.project, part.user, part.type, 0, {}});
  auto same = [&](const std::shared_ptr<const UsageGroup>& other) {
    return other->project == part.project && other->user == part.user && other->type == part.type;
  };
  const uint64_t hash = ResourceView::UsageHash()(group);
  if (const auto* known = view_.usages_.Find(hash, same)) *group = **known;
  group->consumers += static_cast<uint64_t>(sign) * part.consumers;
  for (const auto& [id, amount] : part.used) AddTo(*group, id, sign * amount);
  std::erase_if(group->used, [](const auto& entry) { return entry.second == 0; });
  if (group->consumers == 0) {
    view_.usages_.Erase(edit_, hash, same);
  } else {
    view_.usages_.Put(edit_, std::move(group), same);
  }
}

void ResourceDraft::AddHolders(const Uuid& provider, std::span<const Uuid> consumers) {
  auto same = [&](const auto& holders) { return holders->provider == provider; };
  auto next = std::make_shared<ResourceView::Holders>();
  next->provider = provider;
  if (const auto* known = view_.holders_.Find(HashOf(provider), same)) *next = **known;
  for (const Uuid& consumer : consumers) next->consumers.Add(edit_, consumer);
  view_.holders_.Put(edit_, std::move(next), same);
}

void ResourceDraft::DropHolder(const Uuid& provider, const Uuid& consumer) {
  auto same = [&](const auto& holders) { return holders->provider == provider; };
  const auto* known = view_.holders_.Find(HashOf(provider), same);
  CHECK(known != nullptr);
  auto next = std::make_shared<ResourceView::Holders>(**known);
  next->consumers.Erase(edit_, HashOf(consumer), [&](const Uuid& c) { return c == consumer; });
  if (next->consumers.size() == 0) {
    view_.holders_.Erase(edit_, HashOf(provider), same);
  } else {
    view_.holders_.Put(edit_, std::move(next), same);
  }
}

}  // namespace berth::placement
