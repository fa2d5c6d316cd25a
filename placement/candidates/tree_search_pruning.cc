// What keeps a tree without candidates, or with few, from being searched through and through.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "placement/candidates/tree_search.h"

namespace berth::placement {
namespace {

// Whether two leaves of one parent are interchangeable: equal in all that a search looks at.
bool Interchangeable(const ProviderTree& tree, uint32_t a, uint32_t b) {
  return tree.parent(a) == tree.parent(b) && std::ranges::equal(tree.inventories(a), tree.inventories(b)) &&
         std::ranges::equal(tree.used(a), tree.used(b)) &&
         std::ranges::equal(tree.traits(a), tree.traits(b)) &&
         std::ranges::equal(tree.aggregates(a), tree.aggregates(b));
}

}  // namespace

// The choice of this depth led to no candidate at all. By symmetry neither does any server of the same kind,
// as long as no other slot has taken of either.
void TreeSearch::NoteFailure(SearchContext& context, uint32_t depth) {
  if (fruitful_[depth] != 0) return;
  if (!dead_ends_) {
    dead_ends_ = true;
    FindKinds(context);
    if (!EnoughSupply()) {  // then there is no candidate anywhere in the tree
      for (uint32_t d = 0; d <= depth; ++d) cursor_[d] = static_cast<uint32_t>(Servers(order_[d]).size());
    }
  }
  const Item item = serves_[order_[depth]];
  if (uses_[item] == 1) failed_[depth].push_back(kinds_[item]);
}

bool TreeSearch::IsKnownFailure(uint32_t depth, Item item) const {
  if (failed_[depth].empty() || uses_[item] != 0) return false;
  return std::ranges::find(failed_[depth], kinds_[item]) != failed_[depth].end();
}

void TreeSearch::FindKinds(SearchContext& context) {
  kinds_.resize(places_.size());
  std::vector<Item> first_of_kind;
  for (Item item = 0; item < kinds_.size(); ++item) {
    kinds_[item] = item;
    if (item >= tree_->size() || tree_->end(item) != item + 1) continue;  // guests and inner nodes are unique
    context.steps += first_of_kind.size() / 8;
    const auto same =
        std::ranges::find_if(first_of_kind, [&](Item other) { return Interchangeable(*tree_, other, item); });
    if (same != first_of_kind.end()) {
      kinds_[item] = *same;
    } else {
      first_of_kind.push_back(item);
    }
  }
}

// For each class that several slots ask for: whether what all ask for fits into what all servers have.
bool TreeSearch::EnoughSupply() const {
  struct Balance {
    double wanted = 0;
    double free = 0;
    std::vector<uint8_t> counted;
  };
  std::unordered_map<ResourceClassId, Balance> balances;
  for (uint32_t slot = 0; slot < request_->slots.size(); ++slot) {
    for (const ResolvedAmount& wanted : request_->slots[slot].resources) {
      if (!wanted.elsewhere) continue;
      Balance& balance = balances[wanted.resource_class];
      balance.counted.resize(places_.size());
      balance.wanted += static_cast<double>(wanted.amount);
      for (Item item : Servers(slot)) {
        if (balance.counted[item] != 0) continue;
        balance.counted[item] = 1;
        const ProviderTree::Stock stock = TreeOf(item).Find(places_[item].provider, wanted.resource_class);
        const double free = stock.inventory->Capacity() - static_cast<double>(stock.used);
        balance.free += std::min(std::ceil(free), static_cast<double>(stock.inventory->max_unit));
      }
    }
  }
  return std::ranges::all_of(balances,
                             [](const auto& entry) { return entry.second.wanted <= entry.second.free; });
}

// With group_policy=isolate: whether each suffixed group that is still open can get a provider of its own.
bool TreeSearch::CanIsolateRest(SearchContext& context, uint32_t depth) {
  if (!request_->isolate) return true;
  partner_.assign(places_.size(), kUnassigned);
  visited_.assign(places_.size(), 0);
  round_ = 0;
  for (uint32_t d = depth + 1; d < order_.size(); ++d) {
    if (!request_->slots[order_[d]].suffixed) continue;
    ++round_;
    if (!FindPartner(order_[d], context)) return false;
  }
  return true;
}

// An augmenting path of a bipartite matching; its depth is at most the number of slots.
bool TreeSearch::FindPartner(uint32_t slot, SearchContext& context) {
  for (Item item : Servers(slot)) {
    ++context.steps;
    if (isolated_[item] != 0 || visited_[item] == round_) continue;
    visited_[item] = round_;
    if (partner_[item] == kUnassigned || FindPartner(partner_[item], context)) {
      partner_[item] = slot;
      return true;
    }
  }
  return false;
}

}  // namespace berth::placement
