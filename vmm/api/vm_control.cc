#include "vmm/api/vm_control.h"

namespace berth::vmm {

std::string_view VmStateName(VmState state) {
  switch (state) {
    case VmState::kCreated:
      return "Created";
    case VmState::kRunning:
      return "Running";
    case VmState::kPaused:
      return "Paused";
    case VmState::kShutdown:
      return "Shutdown";
  }
  CHECK(false);
}

std::string_view VmActionName(VmAction action) {
  constexpr std::string_view kNames[] = {"power-button", "nmi",      "pause",       "resume",
                                         "reboot",       "shutdown", "vmm.shutdown"};
  return kNames[static_cast<size_t>(action)];
}

std::string_view HotplugStateName(HotplugState state) {
  switch (state) {
    case HotplugState::kPending:
      return "Pending";
    case HotplugState::kDone:
      return "Done";
    case HotplugState::kTimedOut:
      return "TimedOut";
    case HotplugState::kDropped:
      return "Dropped";
  }
  CHECK(false);
}

}  // namespace berth::vmm
