#include "placement/candidates/tree_filter.h"

#include <algorithm>
#include <span>

namespace berth::placement {
namespace {

using Words = std::vector<uint64_t>;

Words AllTrees(const ResourceView& view) {
  const std::span<const uint64_t> all = view.AllTrees().words();
  return {all.begin(), all.end()};
}

void KeepOnly(Words& words, std::span<const uint64_t> other) {
  for (size_t i = 0; i < words.size(); ++i) words[i] &= i < other.size() ? other[i] : 0;
}

void AddAll(Words& words, std::span<const uint64_t> other) {
  for (size_t i = 0; i < std::min(words.size(), other.size()); ++i) words[i] |= other[i];
}

void KeepOnlyTree(Words& words, TreeSlot slot) {
  Words one(words.size());
  if (slot / 64 < one.size()) one[slot / 64] = uint64_t{1} << (slot % 64);
  KeepOnly(words, one);
}

template <class Ids, class SetOf>
void KeepAnyOf(Words& words, const Ids& ids, SetOf set_of) {
  if (ids.size() == 1) return KeepOnly(words, set_of(ids.front()).words());
  Words any(words.size());
  for (const auto id : ids) AddAll(any, set_of(id).words());
  KeepOnly(words, any);
}

void KeepTraits(const ResourceView& view, const ResolvedFilter& filter, Words& words) {
  for (const auto& any : filter.required) {
    KeepAnyOf(words, any, [&](TraitId id) -> const SlotSet& { return view.TreesWith(id); });
  }
}

// Also right for the unnumbered group: a tree is in the aggregates of its root.
void KeepAggregates(const ResourceView& view, const ResolvedFilter& filter, Words& words) {
  for (const auto& any : filter.member_of) {
    KeepAnyOf(words, any, [&](AggregateId id) -> const SlotSet& { return view.TreesIn(id); });
  }
}

void KeepClasses(const ResourceView& view, const std::vector<ResolvedAmount>& amounts, Words& words) {
  for (const ResolvedAmount& amount : amounts) KeepOnly(words, view.TreesWith(amount.resource_class).words());
}

}  // namespace

Words TreesInQuestion(const ResourceView& view, const ResolvedRequest& request,
                      const SharingProviders& sharing) {
  Words trees = AllTrees(view);
  for (TraitId trait : request.root_required) KeepOnly(trees, view.TreesWith(trait).words());
  bool unnumbered_shared = false;
  for (uint32_t i = 0; i < request.slots.size(); ++i) {
    const CandidateSlot& slot = request.slots[i];
    const ResolvedFilter& filter = request.filter(slot);
    const bool shared = sharing.AnyServes(i);
    unnumbered_shared |= shared && !slot.suffixed;
    if (filter.in_tree && (!slot.suffixed || !shared)) KeepOnlyTree(trees, *filter.in_tree);
    Words own = trees;
    KeepClasses(view, slot.resources, own);
    if (slot.suffixed) KeepTraits(view, filter, own);
    KeepAggregates(view, filter, own);
    if (shared) {
      Words reached(trees.size());
      sharing.AddReachedTrees(view, i, reached);
      KeepOnly(reached, trees);
      AddAll(own, reached);
    }
    trees = std::move(own);
  }
  // The traits of the unnumbered group may come from any provider that serves it.
  if (request.unnumbered && !unnumbered_shared) KeepTraits(view, request.filters[*request.unnumbered], trees);
  return trees;
}

Words TreesInQuestion(const ResourceView& view, const ResolvedFilter& filter,
                      const std::vector<ResolvedAmount>& amounts) {
  Words trees = AllTrees(view);
  if (filter.in_tree) KeepOnlyTree(trees, *filter.in_tree);
  KeepClasses(view, amounts, trees);
  KeepTraits(view, filter, trees);
  KeepAggregates(view, filter, trees);
  return trees;
}

}  // namespace berth::placement
