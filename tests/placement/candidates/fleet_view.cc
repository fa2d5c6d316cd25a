#include "tests/placement/candidates/fleet_view.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace berth::placement::testing {
namespace {

Provider ToProvider(ResourceDraft& draft, const NaiveFleet& fleet, int number) {
  const NaiveProvider& from = fleet.providers[number];
  Provider to;
  to.uuid = ProviderUuid(number);
  to.name = from.name.empty() ? "provider-" + std::to_string(number) : from.name;
  if (from.parent >= 0) to.parent = ProviderUuid(from.parent);
  std::vector<std::pair<Inventory, int64_t>> inventories;
  for (const auto& [name, inventory] : from.inventories) {
    auto id = draft.view().resource_classes().Find(std::string_view(name));
    if (!id) id = draft.AddResourceClass(name, 1);
    Inventory made;
    made.resource_class = *id;
    made.total = static_cast<int32_t>(inventory.total);
    made.reserved = static_cast<int32_t>(inventory.reserved);
    made.min_unit = static_cast<int32_t>(inventory.min_unit);
    made.max_unit = static_cast<int32_t>(inventory.max_unit);
    made.step_size = static_cast<int32_t>(inventory.step_size);
    made.allocation_ratio = inventory.allocation_ratio;
    inventories.emplace_back(made, static_cast<int64_t>(inventory.used));
  }
  std::ranges::sort(inventories, {}, [](const auto& entry) { return entry.first.resource_class; });
  for (const auto& [inventory, used] : inventories) {
    to.inventories.push_back(inventory);
    to.used.push_back(used);
  }
  for (const std::string& name : from.traits) {
    auto id = draft.view().traits().Find(std::string_view(name));
    to.traits.push_back(id ? *id : draft.AddTrait(name, 1));
  }
  std::ranges::sort(to.traits);
  for (const Uuid& aggregate : from.aggregates) to.aggregates.push_back(draft.EnsureAggregate(aggregate, 1));
  std::ranges::sort(to.aggregates);
  return to;
}

}  // namespace

FleetView::FleetView(const NaiveFleet& fleet) {
  std::map<int, std::vector<Provider>> trees;
  for (int i = 0; i < static_cast<int>(fleet.providers.size()); ++i) {
    index_[ProviderUuid(i)] = i;
    trees[fleet.Root(i)].push_back(ToProvider(draft_, fleet, i));
  }
  for (auto& [root, providers] : trees) {
    draft_.AddTree(ProviderTree::Make(std::move(providers), TreeOwner::kClients));
  }
}

int FleetView::IndexOf(const ProviderPlace& place) const {
  return index_.at(view().tree(place.tree)->uuid(place.provider));
}

NaiveCandidate FleetView::Translate(const CandidatesRequest& request, const CandidatesAnswer& answer,
                                    size_t candidate) const {
  NaiveCandidate made;
  for (const auto& allocation : answer.AllocationsOf(candidate)) {
    const std::string& name = view().resource_classes().name(allocation.resource_class);
    made.amounts[{IndexOf(allocation.provider), name}] += static_cast<uint64_t>(allocation.amount);
  }
  for (const auto& mapping : answer.MappingsOf(candidate)) {
    made.mappings[request.groups[mapping.group].suffix].insert(IndexOf(mapping.provider));
  }
  return made;
}

}  // namespace berth::placement::testing
