#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/persistent_hash.h"
#include "common/persistent_vector.h"
#include "common/uuid.h"
#include "placement/model/consumer.h"
#include "placement/model/name_table.h"
#include "placement/model/provider_tree.h"
#include "placement/model/room_index.h"
#include "placement/model/slot_set.h"

namespace berth::placement {

// A provider's place: the tree and the index in it. tree == nullptr: no such provider. The tree lives as long
// as the view that it comes from (or the shared_ptr that View::tree gives).
struct ProviderRef {
  std::shared_ptr<const ProviderTree> tree;
  TreeSlot slot = 0;
  uint32_t index = 0;

  explicit operator bool() const { return tree != nullptr; }
  const Uuid& uuid() const { return tree->uuid(index); }
  std::string_view name() const { return tree->name(index); }
  uint64_t generation() const { return tree->generation(index); }
};

// What one project's (and user's and type's) consumers hold: GET /usages.
struct UsageGroup {
  ProjectId project{};
  UserId user{};
  ConsumerTypeId type = kNoConsumerType;
  uint64_t consumers = 0;
  std::vector<std::pair<ResourceClassId, int64_t>> used;  // ascending by class, none is 0
};

// The whole state of OpenStack Placement's model at one moment: names, trees, consumers, usages, with
// indexes. An immutable value that any number of threads read without a lock; a new one is published after
// each commit and shares all that did not change. Take it once for each request:
//   std::shared_ptr<const ResourceView> view = fleet.resources();
class ResourceView {
 public:
  // Standard names only.
  ResourceView();

  // --- names ---
  const ResourceClassTable& resource_classes() const { return classes_; }
  const TraitTable& traits() const { return traits_; }
  const AggregateTable& aggregates() const { return aggregates_; }
  const NameTable<ProjectId>& projects() const { return projects_; }
  const NameTable<UserId>& users() const { return users_; }
  // Number 0 is there, with the name "unknown".
  const NameTable<ConsumerTypeId>& consumer_types() const { return types_; }

  // --- providers ---
  // Slots are 0 .. slots() - 1 in order of the trees' coming, freed ones being used again.
  TreeSlot slots() const { return static_cast<TreeSlot>(trees_.size()); }
  // nullptr: the slot is empty. The reference lives as long as the view.
  const std::shared_ptr<const ProviderTree>& tree(TreeSlot slot) const { return trees_[slot]; }
  size_t provider_count() const { return by_uuid_.size(); }
  ProviderRef FindProvider(const Uuid& uuid) const;
  ProviderRef FindProvider(std::string_view name) const;

  // --- which trees have a provider with ... Empty sets for ids that nobody has. ---
  const SlotSet& AllTrees() const { return *all_; }
  const SlotSet& TreesWith(ResourceClassId resource_class) const {
    return SetOf(with_class_, resource_class);
  }
  const SlotSet& TreesWith(TraitId trait) const { return SetOf(with_trait_, trait); }
  const SlotSet& TreesIn(AggregateId aggregate) const { return SetOf(in_aggregate_, aggregate); }
  // The most of a class that one provider of a tree could still give at once.
  int32_t MostRoom(ResourceClassId resource_class, TreeSlot slot) const {
    return room_.MostRoom(resource_class, slot);
  }
  // MISC_SHARES_VIA_AGGREGATE: TreesWith() it are those with sharing providers (any provider, not only
  // roots).
  TraitId sharing_trait() const { return sharing_trait_; }

  // --- consumers ---
  // nullptr: has no allocation (and so does not exist).
  std::shared_ptr<const Consumer> FindConsumer(const Uuid& consumer) const;
  size_t consumer_count() const { return consumers_.size(); }
  // The consumers with allocations on a provider, ascending by UUID.
  std::vector<std::shared_ptr<const Consumer>> ConsumersOf(const Uuid& provider) const;
  void ForEachConsumer(const std::function<void(const std::shared_ptr<const Consumer>&)>& visit) const;
  size_t allocation_count() const { return allocation_count_; }

  // --- usages: visits the groups of a project, of one user only if given, in no order ---
  void ForEachUsage(ProjectId project, std::optional<UserId> user,
                    const std::function<void(const UsageGroup&)>& visit) const;

  // Number of the last event that is in it.
  uint64_t sequence() const { return sequence_; }

 private:
  friend class ResourceDraft;

  struct SlotEntry {
    uint64_t hash = 0;
    TreeSlot slot = 0;
  };
  struct SlotHash {
    uint64_t operator()(const SlotEntry& entry) const { return entry.hash; }
  };
  using SlotIndex = PersistentHash<SlotEntry, SlotHash>;
  struct ConsumerHash {
    uint64_t operator()(const std::shared_ptr<const Consumer>& c) const { return std::hash<Uuid>()(c->uuid); }
  };
  struct UuidHash {
    uint64_t operator()(const Uuid& uuid) const { return std::hash<Uuid>()(uuid); }
  };
  // The consumers of one provider.
  struct Holders {
    Uuid provider;
    PersistentHash<Uuid, UuidHash> consumers;
  };
  struct HoldersHash {
    uint64_t operator()(const std::shared_ptr<const Holders>& h) const {
      return std::hash<Uuid>()(h->provider);
    }
  };
  struct UsageHash {
    uint64_t operator()(const std::shared_ptr<const UsageGroup>& g) const {
      return static_cast<uint64_t>(g->project) * 0x9E3779B97F4A7C15U;
    }
  };
  using SetIndex =
      PersistentVector<std::shared_ptr<const SlotSet>>;  // by id; shorter than the table of names

  template <class Id>
  static const SlotSet& SetOf(const SetIndex& index, Id id) {
    static const SlotSet kEmpty;
    auto i = static_cast<size_t>(id);
    return i < index.size() && index[i] ? *index[i] : kEmpty;
  }

  ResourceClassTable classes_;
  TraitTable traits_;
  AggregateTable aggregates_;
  NameTable<ProjectId> projects_;
  NameTable<UserId> users_;
  NameTable<ConsumerTypeId> types_;
  TraitId sharing_trait_{};

  PersistentVector<std::shared_ptr<const ProviderTree>> trees_;
  PersistentVector<TreeSlot> free_slots_;  // the first free_count_ of them
  size_t free_count_ = 0;
  SlotIndex by_uuid_;
  SlotIndex by_name_;
  std::shared_ptr<const SlotSet> all_ = std::make_shared<const SlotSet>();
  SetIndex with_class_;
  SetIndex with_trait_;
  SetIndex in_aggregate_;
  RoomIndex room_;

  PersistentHash<std::shared_ptr<const Consumer>, ConsumerHash> consumers_;
  PersistentHash<std::shared_ptr<const Holders>, HoldersHash> holders_;
  PersistentHash<std::shared_ptr<const UsageGroup>, UsageHash> usages_;
  size_t allocation_count_ = 0;
  uint64_t sequence_ = 0;
};

}  // namespace berth::placement
