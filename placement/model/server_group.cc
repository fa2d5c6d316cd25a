#include "placement/model/server_group.h"

namespace berth::placement {

const char* ServerGroupPolicyName(ServerGroupPolicy policy) {
  switch (policy) {
    case ServerGroupPolicy::kAffinity:
      return "affinity";
    case ServerGroupPolicy::kAntiAffinity:
      return "anti-affinity";
    case ServerGroupPolicy::kSoftAffinity:
      return "soft-affinity";
    case ServerGroupPolicy::kSoftAntiAffinity:
      return "soft-anti-affinity";
  }
  return "";
}

}  // namespace berth::placement
