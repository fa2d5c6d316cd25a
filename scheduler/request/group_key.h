#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace berth::scheduler {

// A name of placement's syntax for groups of resources that asks for a device: "resources1:CUSTOM_X",
// "trait_gpu:CUSTOM_Y", "required1". The suffix is 1 to 64 of [A-Za-z0-9_-].
struct GroupKey {
  enum class Kind { kResources, kTrait, kRequired };
  Kind kind = Kind::kResources;
  std::string suffix;
  std::string name;  // the class or trait as written; empty of kRequired

  // Nothing: this is no such name. Without suffix only "resources:CLASS" of a device's class is one: VCPU,
  // PCPU, MEMORY_MB, DISK_GB and MEM_ENCRYPTION_CONTEXT, and the traits of "trait:" and "required", are the
  // host's.
  static std::optional<GroupKey> Parse(std::string_view key);
};

}  // namespace berth::scheduler
