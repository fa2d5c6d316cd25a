#include "vmm/bus/interrupts.h"

#include <poll.h>

namespace berth::vmm {

bool InterruptWaits(const MsiRoute& route) {
  pollfd event{.fd = route.event_fd(), .events = POLLIN, .revents = 0};
  return ::poll(&event, 1, 0) == 1;
}

}  // namespace berth::vmm
