#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Devices that are alike for this request: same parent, same node, same requests served. Interchangeable.
struct DeviceClass {
  uint64_t serves = 0;            // requests, before NUMA policies
  std::optional<NumaNode> node;   // empty: unknown
  std::vector<uint32_t> devices;  // indexes into FitHost::devices, ascending
  uint32_t first = 0;             // how many of them, from the front, may also serve aliases
};

// The ways in which one parent's devices can be used: exactly one of the options holds. A parent without
// conflict has one. Options arise from "the PF or its VFs" (R9) and from group_policy=isolate when the
// devices of one parent are of several kinds (R10).
struct ParentOptions {
  std::vector<std::vector<DeviceClass>> options;
  uint32_t signature = 0;  // parents with several options and equal signatures are interchangeable
};

// Everything about a host's devices that matters to one request, whatever the chosen host cells.
struct DevicePool {
  uint64_t alias_requests = 0;  // bit r: request r comes from an alias
  std::vector<ParentOptions> parents;
};

// Of a prepared host. `domains`: see domain_choice.h; empty: the request's groups are not looked at.
DevicePool BuildDevicePool(const FitHost& host, const RequestSpec& spec,
                           const std::vector<std::string>& domains = {});

}  // namespace berth::scheduler
