#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "common/uuid.h"

namespace berth::agent {

// "bridge=NAME" in a network's option string: the agent makes a TAP on that bridge. A value type.
struct NetSource {
  std::string bridge;     // empty: the VMM's own key "tap="
  std::string remaining;  // the option's other keys, which are the VMM's

  friend bool operator==(const NetSource&, const NetSource&) = default;
};

// kInvalidArgument, field "nets": bridge= and tap= together, or a name that no interface can have. Pure.
Result<NetSource> ParseNetSource(std::string_view option);

// The name of an instance's TAP: at most 15 characters, the same each time. Pure.
std::string TapName(const Uuid& instance, size_t net);

}  // namespace berth::agent
