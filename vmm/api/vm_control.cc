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

}  // namespace berth::vmm
