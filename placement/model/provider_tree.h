#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"
#include "placement/model/inventory.h"
#include "placement/model/name_table.h"

namespace berth::placement {

// One resource provider by itself: the form in which trees are built, changed and stored. Lists ascend and
// have no double entries.
struct Provider {
  Uuid uuid;
  std::string name;    // unique among all providers, 1 .. 200 characters
  Uuid parent;         // nil: a root
  bool guest = false;  // of a client of the REST API, although the tree is an agent's; so are those below it
  uint64_t generation = 0;
  std::vector<Inventory> inventories;  // by class
  std::vector<int64_t> used;           // of each inventory; what allocations hold
  std::vector<TraitId> traits;
  std::vector<AggregateId> aggregates;
  uint64_t created_at_ms = 0;      // Unix time
  uint64_t updated_at_ms = 0;      // of the provider itself (name, parent), 0: never
  uint64_t inventories_at_ms = 0;  // of the last change of inventories, 0: never

  friend bool operator==(const Provider&, const Provider&) = default;
};

// Who says what the providers of a tree are.
enum class TreeOwner : uint8_t {
  kClients,  // the clients of the REST API
  kAgent,    // the report of a host (the root has the host's uuid and name): see projection.h
};

// All providers below one root, root included: one immutable value. A provider is named by its index; indexes
// are in preorder (a parent before its children, siblings by name), so the subtree of i is i .. end(i) - 1.
// What only claims change (used amounts, generations) lies apart from the rest, which successive versions
// share.
class ProviderTree {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;  // no provider

  // Providers in any order: exactly one without parent, every other one's parent among them. In a tree of
  // clients nobody is a guest, whatever the value says.
  static std::shared_ptr<const ProviderTree> Make(std::vector<Provider> providers, TreeOwner owner);

  uint32_t size() const { return static_cast<uint32_t>(state_->generations.size()); }
  TreeOwner owner() const { return shape_->owner; }
  // Who says what provider `i` is: the tree's owner, but for guests.
  TreeOwner owner(uint32_t i) const { return shape_->names[i].guest ? TreeOwner::kClients : shape_->owner; }

  const Uuid& uuid(uint32_t i) const { return shape_->names[i].uuid; }
  std::string_view name(uint32_t i) const {
    const Names& n = shape_->names[i];
    return std::string_view(shape_->text).substr(n.text, n.length);
  }
  uint32_t parent(uint32_t i) const { return shape_->nodes[i].parent; }  // kNone: the root
  uint32_t end(uint32_t i) const { return shape_->nodes[i].end; }
  bool InSubtree(uint32_t i, uint32_t root) const { return i >= root && i < end(root); }
  uint64_t generation(uint32_t i) const { return state_->generations[i]; }

  // Ascending by class.
  std::span<const Inventory> inventories(uint32_t i) const {
    return {shape_->inventories.data() + shape_->nodes[i].inventories,
            shape_->inventories.data() + shape_->nodes[i + 1].inventories};
  }
  // Beside them, one by one.
  std::span<const int64_t> used(uint32_t i) const {
    return {state_->used.data() + shape_->nodes[i].inventories,
            state_->used.data() + shape_->nodes[i + 1].inventories};
  }
  // The inventory of a class with what is used of it; inventory == nullptr: the provider has none.
  struct Stock {
    const Inventory* inventory = nullptr;
    int64_t used = 0;
    bool Serves(int64_t amount) const { return inventory != nullptr && inventory->Serves(used, amount); }
  };
  Stock Find(uint32_t i, ResourceClassId resource_class) const;

  // Ascending (so in order of the traits' creation).
  std::span<const TraitId> traits(uint32_t i) const {
    return {shape_->traits.data() + shape_->nodes[i].traits,
            shape_->traits.data() + shape_->nodes[i + 1].traits};
  }
  bool HasTrait(uint32_t i, TraitId trait) const;
  std::span<const AggregateId> aggregates(uint32_t i) const {
    return {shape_->aggregates.data() + shape_->nodes[i].aggregates,
            shape_->aggregates.data() + shape_->nodes[i + 1].aggregates};
  }
  bool InAggregate(uint32_t i, AggregateId aggregate) const;

  uint64_t created_at_ms(uint32_t i) const { return shape_->names[i].created_at_ms; }
  uint64_t updated_at_ms(uint32_t i) const { return shape_->names[i].updated_at_ms; }
  uint64_t inventories_at_ms(uint32_t i) const { return shape_->names[i].inventories_at_ms; }

  // kNone: not in this tree.
  uint32_t FindProvider(const Uuid& uuid) const;
  uint32_t FindProvider(std::string_view name) const;
  // Whether some allocation is on the provider.
  bool InUse(uint32_t i) const;

  // The provider as a value, and all of them in preorder.
  Provider At(uint32_t i) const;
  std::vector<Provider> Unpack() const;

  // A tree that differs only in what claims change. `delta` entries need an inventory there.
  struct UsageChange {
    uint32_t provider = 0;
    ResourceClassId resource_class{};
    int64_t delta = 0;
  };
  std::shared_ptr<const ProviderTree> WithUsage(std::span<const UsageChange> changes,
                                                std::span<const uint32_t> raise_generation) const;
  // With other generations, one for each provider.
  std::shared_ptr<const ProviderTree> WithGenerations(std::vector<uint64_t> generations) const;
  // Whether both are the same but for usage and generations, told by identity: cheap, may be false for
  // equals.
  bool SharesShape(const ProviderTree& other) const { return shape_ == other.shape_; }

  // Bytes of memory: what searches look at, and the names and times besides.
  size_t HotBytes() const;
  size_t ColdBytes() const;

 private:
  // One more than providers: the last ends the lists of the one before.
  struct Node {
    uint32_t parent = kNone;
    uint32_t end = 0;
    uint32_t inventories = 0;  // where its lists begin
    uint32_t traits = 0;
    uint32_t aggregates = 0;
  };
  struct Names {
    Uuid uuid;
    uint32_t text = 0;
    uint32_t length : 31 = 0;
    uint32_t guest : 1 = 0;
    uint64_t created_at_ms = 0;
    uint64_t updated_at_ms = 0;
    uint64_t inventories_at_ms = 0;
  };
  struct Shape {
    std::vector<Node> nodes;
    std::vector<Inventory> inventories;
    std::vector<TraitId> traits;
    std::vector<AggregateId> aggregates;
    std::vector<Names> names;
    std::string text;
    TreeOwner owner = TreeOwner::kClients;
  };
  struct State {
    std::vector<int64_t> used;
    std::vector<uint64_t> generations;
  };

  std::shared_ptr<const Shape> shape_;
  std::shared_ptr<const State> state_;
};

}  // namespace berth::placement
