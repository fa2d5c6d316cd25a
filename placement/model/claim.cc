#include "placement/model/claim.h"

namespace berth::placement {

const char* InstanceStateName(InstanceState state) {
  switch (state) {
    case InstanceState::kPending:
      return "PENDING";
    case InstanceState::kBuilding:
      return "BUILDING";
    case InstanceState::kRunning:
      return "RUNNING";
    case InstanceState::kStopped:
      return "STOPPED";
    case InstanceState::kFailed:
      return "FAILED";
    case InstanceState::kDeleting:
      return "DELETING";
    case InstanceState::kPaused:
      return "PAUSED";
  }
  return "UNKNOWN";
}

std::optional<InstanceState> ParseInstanceState(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(InstanceState::kPaused); ++i) {
    auto state = static_cast<InstanceState>(i);
    if (name == InstanceStateName(state)) return state;
  }
  return std::nullopt;
}

}  // namespace berth::placement
