#include "placement/candidates/tree_search.h"

#include <algorithm>

#include "placement/candidates/serve.h"

namespace berth::placement {

bool TreeSearch::Start(SearchContext& context, TreeSlot anchor) {
  request_ = &context.request;
  tree_ = context.view.tree(anchor).get();
  anchor_ = anchor;
  sharing_trait_ = context.view.sharing_trait();
  if (tree_ == nullptr || HasAnyOf(*tree_, 0, request_->root_forbidden)) return false;
  for (TraitId trait : request_->root_required) {
    if (!tree_->HasTrait(0, trait)) return false;
  }
  if (request_->unnumbered) {
    const ResolvedFilter& filter = request_->filters[*request_->unnumbered];
    if (InAnyOf(*tree_, 0, filter.forbidden_aggregates)) return false;
    if (filter.in_tree && *filter.in_tree != anchor) return false;
    root_in_aggregates_ = InAllOf(*tree_, 0, filter.member_of);
  }
  context.sharing.Reaching(anchor, *tree_, guests_);
  if (!FindServers(context) || !PrepareTraits(context)) return false;
  const size_t slots = request_->slots.size();
  const size_t items = tree_->size() + guests_.size();
  context.steps += slots * (items + slots) / 32;
  places_.resize(items);
  trees_.assign(items, tree_);
  for (Item i = 0; i < tree_->size(); ++i) places_[i] = {anchor, i};
  for (size_t i = 0; i < guests_.size(); ++i) {
    places_[tree_->size() + i] = context.sharing.place(guests_[i]);
    trees_[tree_->size() + i] = context.view.tree(places_[tree_->size() + i].tree).get();
  }
  serves_.assign(slots, kUnassigned);
  uses_.assign(items, 0);
  isolated_.assign(items, 0);
  cursor_.assign(slots, 0);
  fruitful_.assign(slots, 0);
  failed_.resize(slots);
  for (auto& failed : failed_) failed.clear();
  kinds_.clear();
  started_ = dead_ends_ = false;
  depth_ = 0;
  ChooseOrder();
  return true;
}

bool TreeSearch::FindServers(const SearchContext& context) {
  servers_.clear();
  servers_begin_.assign(1, 0);
  const auto items = static_cast<Item>(tree_->size() + guests_.size());
  for (uint32_t slot = 0; slot < request_->slots.size(); ++slot) {
    for (Item item = 0; item < items; ++item) {
      if (MayServe(context, item, slot)) servers_.push_back(item);
    }
    if (servers_.size() == servers_begin_.back()) return false;
    servers_begin_.push_back(static_cast<uint32_t>(servers_.size()));
  }
  return true;
}

bool TreeSearch::MayServe(const SearchContext& context, Item item, uint32_t slot) const {
  if (item >= tree_->size()) return context.sharing.MayServe(guests_[item - tree_->size()], slot);
  const CandidateSlot& wanted = request_->slots[slot];
  const ResolvedFilter& filter = request_->filter(wanted);
  if (filter.in_tree && *filter.in_tree != anchor_) return false;
  if (!Fits(*tree_, item, wanted.resources)) return false;
  if (wanted.suffixed) return MeetsFilter(*tree_, item, filter);
  return !HasAnyOf(*tree_, item, filter.forbidden) && !InAnyOf(*tree_, item, filter.forbidden_aggregates) &&
         (root_in_aggregates_ || InAllOf(*tree_, item, filter.member_of));
}

// The required traits of the unnumbered group may be spread over its providers: which of them each provider
// has.
bool TreeSearch::PrepareTraits(const SearchContext& context) {
  if (!request_->unnumbered) return true;
  const auto& required = request_->filters[*request_->unnumbered].required;
  if (required.empty()) return true;
  const size_t items = tree_->size() + guests_.size();
  meets_.assign(items * required.size(), 0);
  slot_can_meet_.assign(request_->slots.size() * required.size(), 0);
  std::vector<uint8_t> can(required.size());
  for (uint32_t slot = 0; slot < request_->slots.size(); ++slot) {
    if (request_->slots[slot].suffixed) continue;
    for (Item item : Servers(slot)) {
      const bool own = item < tree_->size();
      const ProviderPlace place =
          own ? ProviderPlace{anchor_, item} : context.sharing.place(guests_[item - tree_->size()]);
      const ProviderTree& tree = own ? *tree_ : *context.view.tree(place.tree);
      for (size_t i = 0; i < required.size(); ++i) {
        if (!HasAnyOf(tree, place.provider, required[i])) continue;
        meets_[item * required.size() + i] = 1;
        slot_can_meet_[slot * required.size() + i] = can[i] = 1;
      }
    }
  }
  return std::ranges::all_of(can, [](uint8_t one) { return one != 0; });
}

// The slot with the fewest servers first; then those that a same_subtree ties to slots before them; so that
// what cannot be is found out early.
void TreeSearch::ChooseOrder() {
  const auto slots = static_cast<uint32_t>(request_->slots.size());
  constexpr uint8_t kTied = 1;
  constexpr uint8_t kDone = 2;
  std::vector<uint8_t>& state = fruitful_;  // all 0 here, and put back
  order_.clear();
  while (order_.size() < slots) {
    uint32_t best = kUnassigned;
    for (uint32_t slot = 0; slot < slots; ++slot) {
      if (state[slot] == kDone) continue;
      if (best == kUnassigned || state[slot] > state[best] ||
          (state[slot] == state[best] && Servers(slot).size() < Servers(best).size())) {
        best = slot;
      }
    }
    state[best] = kDone;
    order_.push_back(best);
    for (uint32_t subtree : request_->slots[best].subtrees) {
      for (uint32_t other : request_->subtrees[subtree]) state[other] = std::max(state[other], kTied);
    }
  }
  std::ranges::fill(state, uint8_t{0});
}

bool TreeSearch::Next(SearchContext& context) {
  const auto slots = static_cast<uint32_t>(order_.size());
  const uint64_t steps_before = context.steps;
  if (started_) Unassign(order_[depth_]);
  started_ = true;
  while (true) {
    if (context.gave_up) return false;
    if (Advance(context, depth_)) {
      if (depth_ + 1 == slots) {
        std::ranges::fill(fruitful_, uint8_t{1});
        context.steps = steps_before;  // they led somewhere
        return true;
      }
      ++depth_;
      cursor_[depth_] = 0;
      failed_[depth_].clear();
      continue;
    }
    if (depth_ == 0) return false;
    --depth_;
    NoteFailure(context, depth_);
    Unassign(order_[depth_]);
  }
}

// Gives the slot of this depth to the next server that may have it.
bool TreeSearch::Advance(SearchContext& context, uint32_t depth) {
  const uint32_t slot = order_[depth];
  const std::span<const Item> servers = Servers(slot);
  while (cursor_[depth] < servers.size()) {
    const Item item = servers[cursor_[depth]++];
    if (++context.steps > context.max_steps) {
      context.gave_up = true;
      return false;
    }
    if (!Viable(context, slot, item) || IsKnownFailure(depth, item)) continue;
    Assign(slot, item);
    if (dead_ends_ && !CanIsolateRest(context, depth)) {
      Unassign(slot);
      continue;
    }
    fruitful_[depth] = 0;
    return true;
  }
  return false;
}

void TreeSearch::Assign(uint32_t slot, Item item) {
  serves_[slot] = item;
  ++uses_[item];
  if (request_->slots[slot].suffixed) ++isolated_[item];
}

void TreeSearch::Unassign(uint32_t slot) {
  const Item item = serves_[slot];
  serves_[slot] = kUnassigned;
  --uses_[item];
  if (request_->slots[slot].suffixed) --isolated_[item];
}

bool TreeSearch::Viable(const SearchContext& context, uint32_t slot, Item item) const {
  const CandidateSlot& wanted = request_->slots[slot];
  if (request_->isolate && wanted.suffixed && isolated_[item] != 0) return false;
  if (uses_[item] != 0 && !HasRoom(slot, item)) return false;
  if (!wanted.suffixed && !KeepsTraits(slot, item)) return false;
  if (!context.request.nested_aware && !wanted.resources.empty()) {
    for (uint32_t other = 0; other < serves_.size(); ++other) {
      if (serves_[other] == kUnassigned || serves_[other] == item || request_->slots[other].resources.empty())
        continue;
      if (places_[serves_[other]].tree == places_[item].tree) return false;
    }
  }
  return std::ranges::all_of(wanted.subtrees,
                             [&](uint32_t subtree) { return KeepsSubtree(subtree, slot, item); });
}

// Several slots may take of one class of one provider: the sum must fit, too, and keep to max_unit.
bool TreeSearch::HasRoom(uint32_t slot, Item item) const {
  for (const ResolvedAmount& wanted : request_->slots[slot].resources) {
    if (!wanted.elsewhere) continue;
    int64_t sum = wanted.amount;
    for (uint32_t other = 0; other < serves_.size(); ++other) {
      if (serves_[other] != item) continue;
      for (const ResolvedAmount& taken : request_->slots[other].resources) {
        if (taken.resource_class == wanted.resource_class) sum += taken.amount;
      }
    }
    const ProviderTree::Stock stock = TreeOf(item).Find(places_[item].provider, wanted.resource_class);
    if (sum > stock.inventory->max_unit || !stock.inventory->HasRoom(stock.used, sum)) return false;
  }
  return true;
}

bool TreeSearch::IsAncestorOrSelf(Item ancestor, Item item) const {
  return trees_[ancestor] == trees_[item] &&
         trees_[item]->InSubtree(places_[item].provider, places_[ancestor].provider);
}

// One of the providers of a same_subtree is an ancestor of the others, or is them. While some are still open
// it is enough that one of those may become it.
bool TreeSearch::KeepsSubtree(uint32_t subtree, uint32_t slot, Item item) const {
  const ProviderTree& tree = TreeOf(item);
  uint32_t common = places_[item].provider;
  const std::vector<uint32_t>& members = request_->subtrees[subtree];
  for (uint32_t member : members) {
    if (member == slot || serves_[member] == kUnassigned) continue;
    if (trees_[serves_[member]] != &tree) return false;
    const uint32_t provider = places_[serves_[member]].provider;
    while (!tree.InSubtree(provider, common)) common = tree.parent(common);
  }
  if (common == places_[item].provider) return true;
  bool open = false;
  for (uint32_t member : members) {
    if (member == slot) continue;
    if (serves_[member] == kUnassigned) {
      open = true;
    } else if (places_[serves_[member]].provider == common) {
      return true;
    }
  }
  if (!open) return false;
  return std::ranges::any_of(members, [&](uint32_t member) {
    if (member == slot || serves_[member] != kUnassigned) return false;
    return std::ranges::any_of(Servers(member), [&](Item server) {
      return trees_[server] == &tree && tree.InSubtree(common, places_[server].provider);
    });
  });
}

// Each required trait of the unnumbered group is there already, or can still come.
bool TreeSearch::KeepsTraits(uint32_t slot, Item item) const {
  const size_t count = request_->filters[*request_->unnumbered].required.size();
  for (size_t i = 0; i < count; ++i) {
    if (meets_[item * count + i] != 0) continue;
    bool met = false;
    for (uint32_t other = 0; other < serves_.size() && !met; ++other) {
      if (other == slot || request_->slots[other].suffixed) continue;
      met = serves_[other] == kUnassigned ? slot_can_meet_[other * count + i] != 0
                                          : meets_[serves_[other] * count + i] != 0;
    }
    if (!met) return false;
  }
  return true;
}

bool TreeSearch::all_sharing() const {
  return std::ranges::all_of(
      serves_, [&](Item item) { return item >= tree_->size() || tree_->HasTrait(item, sharing_trait_); });
}

}  // namespace berth::placement
