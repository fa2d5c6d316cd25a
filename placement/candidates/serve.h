#pragma once

#include <cstdint>

#include "placement/candidates/candidates.h"
#include "placement/candidates/resolve.h"
#include "placement/model/provider_tree.h"

// The conditions that concern one provider alone.
namespace berth::placement {

// Each item of `required` meets the provider's traits.
bool HasRequiredTraits(const ProviderTree& tree, uint32_t provider, const ResolvedFilter& filter);
bool HasAnyOf(const ProviderTree& tree, uint32_t provider, const std::vector<TraitId>& traits);
bool InAllOf(const ProviderTree& tree, uint32_t provider,
             const std::vector<std::vector<AggregateId>>& member_of);
bool InAnyOf(const ProviderTree& tree, uint32_t provider, const std::vector<AggregateId>& aggregates);

// Each amount by itself fits what is free, and min_unit, max_unit and step_size.
bool Fits(const ProviderTree& tree, uint32_t provider, const std::vector<ResolvedAmount>& amounts);

// All of the filter but in_tree, by the provider itself: what GET /resource_providers and suffixed groups
// ask.
bool MeetsFilter(const ProviderTree& tree, uint32_t provider, const ResolvedFilter& filter);

}  // namespace berth::placement
