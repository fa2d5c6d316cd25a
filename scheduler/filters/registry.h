#pragma once

#include <memory>
#include <vector>

#include "scheduler/filters/filter.h"

namespace berth::scheduler {

// How each filter comes from the settings. Made by the functions below, one in each filter's file.
struct FilterMaker {
  const char* name;
  std::unique_ptr<Filter> (*make)(const FilterSettings& settings);
};
// In the order in which they are asked by default. To add a filter: write its class in a file of its own,
// declare its maker here, and add its line to registry.cc.
const std::vector<FilterMaker>& FilterMakers();

std::unique_ptr<Filter> MakeComputeStatusFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeTraitsFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeAvailabilityZoneFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeTenantIsolationFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeAggregateSpecsFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeFlavorAffinityFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeImagePropertiesFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeImageIsolationFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeInstancesPerHostFilter(const FilterSettings& settings);
std::unique_ptr<Filter> MakeBuildBackoffFilter(const FilterSettings& settings);

}  // namespace berth::scheduler
