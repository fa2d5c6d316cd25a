#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/fit/assignment.h"

namespace berth::scheduler {

// Hosts that one request may or may not use because of other instances: its server group, the instances that
// it names. By slot of one picture of the fleet.
struct HostLimits {
  std::optional<std::vector<size_t>> only;  // ascending; nothing: any
  std::vector<size_t> excluded;             // ascending
  std::string code;                         // of the reason against hosts beyond: "server_group", "same_host"
  std::string text;

  bool any() const { return only.has_value() || !excluded.empty(); }
  bool Allows(size_t slot) const {
    if (only && !std::binary_search(only->begin(), only->end(), slot)) return false;
    return !std::binary_search(excluded.begin(), excluded.end(), slot);
  }
  Reason Why() const { return {code, "", "", "host", text}; }
};

}  // namespace berth::scheduler
