#pragma once

#include <unistd.h>

#include <cstdint>

namespace berth::vmm {

// Both for non-blocking eventfds. A full counter is as good as a signal, an empty one as good as drained.
inline void SignalEvent(int fd) {
  const uint64_t one = 1;
  static_cast<void>(!write(fd, &one, sizeof one));
}
inline void DrainEvent(int fd) {
  uint64_t count;
  static_cast<void>(!read(fd, &count, sizeof count));
}

}  // namespace berth::vmm
