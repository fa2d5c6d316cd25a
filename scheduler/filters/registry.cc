#include "scheduler/filters/registry.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "common/yaml.h"

namespace berth::scheduler {
namespace {

// Properties that filters read whatever the aggregates say.
constexpr const char* kImageKeys[] = {"architecture", "hw_architecture", "hw_hypervisor_type",
                                      "hypervisor_type", "img_hv_type"};

}  // namespace

const std::vector<FilterMaker>& FilterMakers() {
  static const std::vector<FilterMaker> makers = {
      {"compute_status", MakeComputeStatusFilter},        {"traits", MakeTraitsFilter},
      {"availability_zone", MakeAvailabilityZoneFilter},  {"tenant_isolation", MakeTenantIsolationFilter},
      {"aggregate_specs", MakeAggregateSpecsFilter},      {"flavor_affinity", MakeFlavorAffinityFilter},
      {"image_properties", MakeImagePropertiesFilter},    {"image_isolation", MakeImageIsolationFilter},
      {"instances_per_host", MakeInstancesPerHostFilter}, {"build_backoff", MakeBuildBackoffFilter},
  };
  return makers;
}

const std::vector<std::string>& FilterSet::Names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const FilterMaker& maker : FilterMakers()) out.emplace_back(maker.name);
    return out;
  }();
  return names;
}

Result<FilterSet> FilterSet::Make(const FilterSettings& settings) {
  FilterSet set;
  for (size_t i = 0; i < settings.names.size(); ++i) {
    const std::string& name = settings.names[i];
    const std::string field = "filters[" + std::to_string(i) + "]";
    bool twice = std::any_of(set.entries_.begin(), set.entries_.end(),
                             [&](const Entry& entry) { return entry.name == name; });
    if (twice) return InvalidArgument("filter \"" + name + "\" is there twice", field);
    const auto& makers = FilterMakers();
    auto maker =
        std::find_if(makers.begin(), makers.end(), [&](const auto& one) { return one.name == name; });
    if (maker == makers.end()) {
      std::vector<std::string_view> known(Names().begin(), Names().end());
      std::string_view nearest = NearestName(name, known);
      std::string all = "known:";
      for (std::string_view one : known) all += " " + std::string(one);
      return InvalidArgument("filter \"" + name + "\" is unknown", field,
                             nearest.empty() ? all : "did you mean \"" + std::string(nearest) + "\"?");
    }
    set.entries_.push_back({name, maker->make(settings)});
  }
  std::set<std::string> keys(std::begin(kImageKeys), std::end(kImageKeys));
  for (const Aggregate& aggregate : settings.aggregates) {
    for (const auto& [key, value] : aggregate.metadata) keys.insert(key);
  }
  set.image_keys_.assign(keys.begin(), keys.end());
  return set;
}

}  // namespace berth::scheduler
