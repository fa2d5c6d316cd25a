#include "tests/placement/candidates/random_fleets.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace berth::placement::testing {
namespace {

// The trait that nobody has is known, so that asking for it is no error.
const std::array<std::string, 4> kTraits = {"HW_NUMA_ROOT", "HW_CPU_X86_AVX2", "HW_NIC_SRIOV",
                                            "STORAGE_DISK_SSD"};
const std::array<std::string, 4> kClasses = {"VCPU", "MEMORY_MB", "DISK_GB", "SRIOV_NET_VF"};
constexpr int kAggregates = 4;

uint32_t Below(std::mt19937& random, uint32_t bound) {
  return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random);
}

bool OneIn(std::mt19937& random, uint32_t count) {
  return Below(random, count) == 0;
}

NaiveInventory RandomInventory(std::mt19937& random) {
  NaiveInventory inventory;
  inventory.total = 2 + Below(random, 7);
  if (OneIn(random, 5)) inventory.reserved = Below(random, static_cast<uint32_t>(inventory.total) + 1);
  if (OneIn(random, 6)) inventory.min_unit = 1 + Below(random, 2);
  inventory.max_unit = OneIn(random, 4) ? 1 + Below(random, 4) : inventory.total;
  if (OneIn(random, 8)) inventory.step_size = 2;
  if (OneIn(random, 6)) inventory.allocation_ratio = OneIn(random, 2) ? 1.5 : 0.7;
  if (OneIn(random, 3)) inventory.used = Below(random, static_cast<uint32_t>(inventory.total));
  return inventory;
}

NaiveProvider RandomProvider(std::mt19937& random, int parent) {
  NaiveProvider provider;
  provider.parent = parent;
  for (const std::string& name : kClasses) {
    if (OneIn(random, parent < 0 ? 3 : 2)) provider.inventories[name] = RandomInventory(random);
  }
  for (const std::string& trait : kTraits) {
    if (OneIn(random, 3)) provider.traits.insert(trait);
  }
  if (OneIn(random, 5)) {
    provider.traits.insert("MISC_SHARES_VIA_AGGREGATE");
    provider.aggregates.insert(AggregateUuid(static_cast<int>(Below(random, kAggregates))));
  }
  if (OneIn(random, 2))
    provider.aggregates.insert(AggregateUuid(static_cast<int>(Below(random, kAggregates))));
  return provider;
}

Uuid RandomAggregate(std::mt19937& random) {
  return AggregateUuid(static_cast<int>(Below(random, OneIn(random, 8) ? kAggregates + 1 : kAggregates)));
}

ProviderFilter RandomFilter(std::mt19937& random, const NaiveFleet& fleet) {
  ProviderFilter filter;
  while (OneIn(random, 5)) {
    std::vector<std::string> any{kTraits[Below(random, 4)]};
    if (OneIn(random, 3)) any.push_back(kTraits[Below(random, 4)]);
    filter.required_traits.push_back(any);
  }
  if (OneIn(random, 6)) filter.forbidden_traits.push_back(kTraits[Below(random, 4)]);
  while (OneIn(random, 9)) {
    std::vector<Uuid> any{RandomAggregate(random)};
    if (OneIn(random, 2)) any.push_back(RandomAggregate(random));
    filter.member_of.push_back(any);
  }
  if (OneIn(random, 10)) filter.forbidden_aggregates.push_back(RandomAggregate(random));
  if (OneIn(random, 12)) {
    filter.in_tree =
        ProviderUuid(static_cast<int>(Below(random, static_cast<uint32_t>(fleet.providers.size()) + 1)));
  }
  return filter;
}

std::vector<ResourceAmount> RandomResources(std::mt19937& random, uint32_t most) {
  std::vector<ResourceAmount> resources;
  const uint32_t count = 1 + Below(random, most);
  const uint32_t first = Below(random, 4);
  for (uint32_t i = 0; i < count; ++i) {
    resources.push_back({kClasses[(first + i) % 4], 1 + Below(random, OneIn(random, 3) ? 4 : 2)});
  }
  return resources;
}

}  // namespace

NaiveFleet RandomFleet(std::mt19937& random) {
  NaiveFleet fleet;
  const uint32_t trees = 1 + Below(random, 3);
  for (uint32_t tree = 0; tree < trees; ++tree) {
    const int root = static_cast<int>(fleet.providers.size());
    fleet.providers.push_back(RandomProvider(random, -1));
    const uint32_t size = Below(random, 5);
    for (uint32_t i = 0; i < size; ++i) {
      const int last = static_cast<int>(fleet.providers.size()) - 1;
      if (last > root && OneIn(random, 2)) {  // a sibling equal to the one before
        NaiveProvider twin = fleet.providers[last];
        fleet.providers.push_back(twin);
        continue;
      }
      fleet.providers.push_back(RandomProvider(
          random, root + static_cast<int>(Below(random, static_cast<uint32_t>(last - root) + 1))));
    }
  }
  for (size_t i = 0; i < fleet.providers.size(); ++i)
    fleet.providers[i].name = "provider-" + std::to_string(i);
  return fleet;
}

CandidatesRequest RandomRequest(std::mt19937& random, const NaiveFleet& fleet) {
  CandidatesRequest request;
  const uint32_t suffixed = Below(random, 4);
  if (suffixed == 0 || OneIn(random, 2)) {
    request.groups.push_back({"", RandomResources(random, 3), RandomFilter(random, fleet)});
  }
  std::vector<std::string> suffixes;
  for (uint32_t i = 0; i < suffixed; ++i) {
    RequestGroup group{"_G" + std::to_string(i), RandomResources(random, 2), RandomFilter(random, fleet)};
    const bool is_only = request.groups.empty() && i + 1 == suffixed;
    if (!is_only && i > 0 && OneIn(random, 4)) group.resources.clear();
    suffixes.push_back(group.suffix);
    request.groups.push_back(std::move(group));
  }
  if (OneIn(random, 2)) request.group_policy = GroupPolicy::kIsolate;
  if (suffixed > 1 && OneIn(random, 2)) {
    request.same_subtrees.push_back(suffixes);
    if (suffixed > 2 && OneIn(random, 2)) request.same_subtrees.back().pop_back();
    if (suffixed > 2 && OneIn(random, 3)) request.same_subtrees.push_back({suffixes[1], suffixes[2]});
  }
  if (OneIn(random, 8)) request.root_required.push_back(kTraits[Below(random, 4)]);
  if (OneIn(random, 12)) request.root_forbidden.push_back(kTraits[Below(random, 4)]);
  if (OneIn(random, 10)) request.nested_aware = false;
  request.first_tree = Below(random, 5);
  return request;
}

ProviderQuery RandomQuery(std::mt19937& random, const NaiveFleet& fleet) {
  ProviderQuery query;
  const auto count = static_cast<uint32_t>(fleet.providers.size());
  if (OneIn(random, 10)) query.uuid = ProviderUuid(static_cast<int>(Below(random, count + 1)));
  if (OneIn(random, 10)) query.name = "provider-" + std::to_string(Below(random, count + 1));
  if (OneIn(random, 2)) query.resources = RandomResources(random, 2);
  query.filter = RandomFilter(random, fleet);
  return query;
}

}  // namespace berth::placement::testing
