#include "placement/model/provider_tree.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace berth::placement {
namespace {

template <class T>
size_t BytesOf(const std::vector<T>& list) {
  return list.capacity() * sizeof(T);
}

template <class T, class V>
void Append(const std::vector<T>& from, std::vector<V>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

// The order of the tree: indexes into `providers`, a parent before its children, siblings by name.
std::vector<uint32_t> Preorder(const std::vector<Provider>& providers) {
  std::unordered_map<Uuid, std::vector<uint32_t>> children;
  for (uint32_t i = 0; i < providers.size(); ++i) children[providers[i].parent].push_back(i);
  for (auto& [parent, list] : children) {
    // The first is taken from the end.
    std::sort(list.begin(), list.end(),
              [&](uint32_t a, uint32_t b) { return providers[a].name > providers[b].name; });
  }
  CHECK(children[Uuid{}].size() == 1);
  std::vector<uint32_t> order;
  std::vector<uint32_t> stack = children[Uuid{}];
  while (!stack.empty()) {
    uint32_t i = stack.back();
    stack.pop_back();
    order.push_back(i);
    if (auto at = children.find(providers[i].uuid); at != children.end()) Append(at->second, stack);
  }
  CHECK(order.size() == providers.size());
  return order;
}

}  // namespace

std::shared_ptr<const ProviderTree> ProviderTree::Make(std::vector<Provider> providers, TreeOwner owner) {
  std::vector<uint32_t> order = Preorder(providers);
  auto shape = std::make_shared<Shape>();
  auto state = std::make_shared<State>();
  shape->owner = owner;
  std::unordered_map<Uuid, uint32_t> index;
  size_t inventories = 0;
  size_t traits = 0;
  size_t aggregates = 0;
  size_t text = 0;
  for (const Provider& p : providers) {
    inventories += p.inventories.size();
    traits += p.traits.size();
    aggregates += p.aggregates.size();
    text += p.name.size();
  }
  shape->nodes.reserve(providers.size() + 1);
  shape->names.reserve(providers.size());
  shape->inventories.reserve(inventories);
  shape->traits.reserve(traits);
  shape->aggregates.reserve(aggregates);
  shape->text.reserve(text);
  state->used.reserve(inventories);
  state->generations.reserve(providers.size());
  for (uint32_t i : order) {
    const Provider& p = providers[i];
    auto own = static_cast<uint32_t>(shape->nodes.size());
    index[p.uuid] = own;
    Node node;
    node.parent = p.parent.is_nil() ? kNone : index[p.parent];
    node.inventories = static_cast<uint32_t>(shape->inventories.size());
    node.traits = static_cast<uint32_t>(shape->traits.size());
    node.aggregates = static_cast<uint32_t>(shape->aggregates.size());
    shape->nodes.push_back(node);
    Names names{.uuid = p.uuid,
                .text = static_cast<uint32_t>(shape->text.size()),
                .length = static_cast<uint32_t>(p.name.size()) & 0x7fffffffU,
                .guest = p.guest && owner == TreeOwner::kAgent ? 1U : 0U,
                .created_at_ms = p.created_at_ms,
                .updated_at_ms = p.updated_at_ms,
                .inventories_at_ms = p.inventories_at_ms};
    shape->names.push_back(names);
    shape->text += p.name;
    Append(p.inventories, shape->inventories);
    Append(p.traits, shape->traits);
    Append(p.aggregates, shape->aggregates);
    CHECK(p.used.size() == p.inventories.size());
    Append(p.used, state->used);
    state->generations.push_back(p.generation);
  }
  auto count = static_cast<uint32_t>(providers.size());
  Node last;
  last.inventories = static_cast<uint32_t>(shape->inventories.size());
  last.traits = static_cast<uint32_t>(shape->traits.size());
  last.aggregates = static_cast<uint32_t>(shape->aggregates.size());
  shape->nodes.push_back(last);
  for (uint32_t i = count; i-- > 0;) {
    Node& node = shape->nodes[i];
    node.end = std::max(node.end, i + 1);
    if (node.parent != kNone)
      shape->nodes[node.parent].end = std::max(shape->nodes[node.parent].end, node.end);
  }
  auto tree = std::make_shared<ProviderTree>();
  tree->shape_ = std::move(shape);
  tree->state_ = std::move(state);
  return tree;
}

ProviderTree::Stock ProviderTree::Find(uint32_t i, ResourceClassId resource_class) const {
  std::span<const Inventory> own = inventories(i);
  auto at = std::lower_bound(
      own.begin(), own.end(), resource_class,
      [](const Inventory& inventory, ResourceClassId id) { return inventory.resource_class < id; });
  if (at == own.end() || at->resource_class != resource_class) return {};
  return {.inventory = &*at, .used = used(i)[static_cast<size_t>(at - own.begin())]};
}

bool ProviderTree::HasTrait(uint32_t i, TraitId trait) const {
  std::span<const TraitId> own = traits(i);
  return std::binary_search(own.begin(), own.end(), trait);
}

bool ProviderTree::InAggregate(uint32_t i, AggregateId aggregate) const {
  std::span<const AggregateId> own = aggregates(i);
  return std::binary_search(own.begin(), own.end(), aggregate);
}

uint32_t ProviderTree::FindProvider(const Uuid& uuid) const {
  for (uint32_t i = 0; i < size(); ++i) {
    if (shape_->names[i].uuid == uuid) return i;
  }
  return kNone;
}

uint32_t ProviderTree::FindProvider(std::string_view wanted) const {
  for (uint32_t i = 0; i < size(); ++i) {
    if (name(i) == wanted) return i;
  }
  return kNone;
}

bool ProviderTree::InUse(uint32_t i) const {
  std::span<const int64_t> own = used(i);
  return std::any_of(own.begin(), own.end(), [](int64_t amount) { return amount != 0; });
}

Provider ProviderTree::At(uint32_t i) const {
  Provider p;
  p.uuid = uuid(i);
  p.name = name(i);
  if (parent(i) != kNone) p.parent = uuid(parent(i));
  p.guest = owner(i) != owner();
  p.generation = generation(i);
  p.inventories.assign(inventories(i).begin(), inventories(i).end());
  p.used.assign(used(i).begin(), used(i).end());
  p.traits.assign(traits(i).begin(), traits(i).end());
  p.aggregates.assign(aggregates(i).begin(), aggregates(i).end());
  p.created_at_ms = created_at_ms(i);
  p.updated_at_ms = updated_at_ms(i);
  p.inventories_at_ms = inventories_at_ms(i);
  return p;
}

std::vector<Provider> ProviderTree::Unpack() const {
  std::vector<Provider> providers;
  providers.reserve(size());
  for (uint32_t i = 0; i < size(); ++i) providers.push_back(At(i));
  return providers;
}

std::shared_ptr<const ProviderTree> ProviderTree::WithUsage(
    std::span<const UsageChange> changes, std::span<const uint32_t> raise_generation) const {
  auto state = std::make_shared<State>(*state_);
  for (const UsageChange& change : changes) {
    Stock stock = Find(change.provider, change.resource_class);
    CHECK(stock.inventory != nullptr);
    int64_t& used = state->used[static_cast<size_t>(stock.inventory - shape_->inventories.data())];
    used += change.delta;
    CHECK(used >= 0);
  }
  for (uint32_t i : raise_generation) ++state->generations[i];
  auto tree = std::make_shared<ProviderTree>();
  tree->shape_ = shape_;
  tree->state_ = std::move(state);
  return tree;
}

std::shared_ptr<const ProviderTree> ProviderTree::WithGenerations(std::vector<uint64_t> generations) const {
  CHECK(generations.size() == size());
  auto tree = std::make_shared<ProviderTree>(*this);
  tree->state_ = std::make_shared<const State>(State{state_->used, std::move(generations)});
  return tree;
}

size_t ProviderTree::HotBytes() const {
  // Each shared object has a control block of two counters and a vtable before it.
  constexpr size_t kControl = 16;
  return sizeof(ProviderTree) + kControl + sizeof(Shape) + kControl + sizeof(State) + kControl +
         BytesOf(shape_->nodes) + BytesOf(shape_->inventories) + BytesOf(shape_->traits) +
         BytesOf(shape_->aggregates) + BytesOf(state_->used) + BytesOf(state_->generations);
}

size_t ProviderTree::ColdBytes() const {
  return BytesOf(shape_->names) + shape_->text.capacity();
}

}  // namespace berth::placement
