#include "placement/candidates/serve.h"

#include <algorithm>

namespace berth::placement {

bool HasAnyOf(const ProviderTree& tree, uint32_t provider, const std::vector<TraitId>& traits) {
  return std::ranges::any_of(traits, [&](TraitId trait) { return tree.HasTrait(provider, trait); });
}

bool HasRequiredTraits(const ProviderTree& tree, uint32_t provider, const ResolvedFilter& filter) {
  return std::ranges::all_of(filter.required, [&](const auto& any) { return HasAnyOf(tree, provider, any); });
}

bool InAnyOf(const ProviderTree& tree, uint32_t provider, const std::vector<AggregateId>& aggregates) {
  return std::ranges::any_of(aggregates, [&](AggregateId one) { return tree.InAggregate(provider, one); });
}

bool InAllOf(const ProviderTree& tree, uint32_t provider,
             const std::vector<std::vector<AggregateId>>& member_of) {
  return std::ranges::all_of(member_of, [&](const auto& any) { return InAnyOf(tree, provider, any); });
}

bool Fits(const ProviderTree& tree, uint32_t provider, const std::vector<ResolvedAmount>& amounts) {
  return std::ranges::all_of(amounts, [&](const ResolvedAmount& wanted) {
    return tree.Find(provider, wanted.resource_class).Serves(wanted.amount);
  });
}

bool MeetsFilter(const ProviderTree& tree, uint32_t provider, const ResolvedFilter& filter) {
  return HasRequiredTraits(tree, provider, filter) && !HasAnyOf(tree, provider, filter.forbidden) &&
         InAllOf(tree, provider, filter.member_of) && !InAnyOf(tree, provider, filter.forbidden_aggregates);
}

}  // namespace berth::placement
