#include "placement/candidates/sharing.h"

#include <algorithm>

#include "placement/candidates/serve.h"

namespace berth::placement {

SharingProviders::SharingProviders(const ResourceView& view, const ResolvedRequest& request)
    : slots_(request.slots.size()), any_(slots_) {
  const std::span<const uint64_t> words = view.TreesWith(view.sharing_trait()).words();
  std::vector<bool> serves(slots_);
  for (TreeSlot slot = 0; slot < words.size() * 64; ++slot) {
    if ((words[slot / 64] >> (slot % 64) & 1) == 0) continue;
    const ProviderTree& tree = *view.tree(slot);
    for (uint32_t provider = 0; provider < tree.size(); ++provider) {
      if (tree.aggregates(provider).empty() || !tree.HasTrait(provider, view.sharing_trait())) continue;
      bool useful = false;
      for (size_t i = 0; i < slots_; ++i) {
        const CandidateSlot& wanted = request.slots[i];
        const ResolvedFilter& filter = request.filter(wanted);
        bool may = Fits(tree, provider, wanted.resources);
        if (may && wanted.suffixed) {
          may = (!filter.in_tree || *filter.in_tree == slot) && MeetsFilter(tree, provider, filter);
        } else if (may) {
          // in_tree keeps the unnumbered group within one tree; required traits concern all its providers
          // together.
          may = !filter.in_tree && !HasAnyOf(tree, provider, filter.forbidden) &&
                InAllOf(tree, provider, filter.member_of) &&
                !InAnyOf(tree, provider, filter.forbidden_aggregates);
        }
        serves[i] = may;
        useful |= may;
      }
      if (!useful) continue;
      const auto number = static_cast<uint32_t>(places_.size());
      places_.push_back({slot, provider});
      for (size_t i = 0; i < slots_; ++i) {
        serves_.push_back(serves[i]);
        if (serves[i]) any_[i] = true;
      }
      for (AggregateId aggregate : tree.aggregates(provider)) by_aggregate_[aggregate].push_back(number);
    }
  }
}

void SharingProviders::Reaching(TreeSlot slot, const ProviderTree& tree, std::vector<uint32_t>& out) const {
  out.clear();
  if (places_.empty()) return;
  for (uint32_t provider = 0; provider < tree.size(); ++provider) {
    for (AggregateId aggregate : tree.aggregates(provider)) {
      const auto found = by_aggregate_.find(aggregate);
      if (found == by_aggregate_.end()) continue;
      for (uint32_t number : found->second) {
        if (places_[number].tree != slot) out.push_back(number);
      }
    }
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
}

void SharingProviders::AddReachedTrees(const ResourceView& view, uint32_t slot,
                                       std::vector<uint64_t>& trees) const {
  for (const auto& [aggregate, numbers] : by_aggregate_) {
    if (std::ranges::none_of(numbers, [&](uint32_t number) { return MayServe(number, slot); })) continue;
    const std::span<const uint64_t> words = view.TreesIn(aggregate).words();
    for (size_t i = 0; i < std::min(words.size(), trees.size()); ++i) trees[i] |= words[i];
  }
}

}  // namespace berth::placement
