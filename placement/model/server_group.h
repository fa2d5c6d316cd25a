#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::placement {

// What the members of a server group want of each other. The first two are promises, kept at the commit of
// every claim; the soft ones are wishes, for the scheduler alone.
enum class ServerGroupPolicy : uint8_t { kAffinity, kAntiAffinity, kSoftAffinity, kSoftAntiAffinity };
const char* ServerGroupPolicyName(
    ServerGroupPolicy policy);  // "affinity", "anti-affinity", "soft-affinity", ...

// A server group as its members carry it. A group is there as long as it has members: the first one brings
// the rules, and a claim that names the group with other rules is refused.
struct ServerGroup {
  std::string name;  // 1..255 bytes, unique in the fleet; a controller's UUID does as well
  ServerGroupPolicy policy = ServerGroupPolicy::kAntiAffinity;
  uint32_t max_per_host = 1;  // members that one host may hold, 1..1024; of kAntiAffinity

  friend bool operator==(const ServerGroup&, const ServerGroup&) = default;
};

}  // namespace berth::placement
