#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/yaml.h"
#include "scheduler/filters/filter.h"
#include "scheduler/weighers/weigher.h"

namespace berth::scheduler {

// What operators say about which hosts may be chosen and which are better (scheduler.yaml). Immutable.
struct HostPolicy {
  FilterSettings settings;
  FilterSet filters;
  WeigherSet weighers;
};

// All filters, no limits, no aggregates, the built-in order.
HostPolicy DefaultPolicy();

// From one YAML document. Top-level keys, all optional:
//   filters: [NAME, ...]                       those that are asked, in this order; default: all
//   weighers: {NAME: MULTIPLIER}               default: the built-in order
//   max_instances_per_host: 0..1000000         0: no limit
//   build_backoff: {first_seconds, longest_seconds}
//   default_availability_zone: NAME
//   aggregates: [{name, uuid, availability_zone, hosts: [NAME or pattern], metadata: {KEY: VALUE}}]
// All errors are told at once, one line each, "FILE:LINE: FIELD: message (hint)"; kInvalidArgument.
Result<HostPolicy> ParsePolicy(std::string_view yaml, std::string_view name);
// scheduler.yaml of a folder; DefaultPolicy if there is none.
Result<HostPolicy> LoadPolicy(const std::string& folder);

}  // namespace berth::scheduler
