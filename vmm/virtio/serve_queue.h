#pragma once

#include <cstdint>

#include "common/status.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {

// Pops chains and pushes them back with what `handle(chain)` returns, the number of bytes written into them,
// until the queue is empty or `budget` chains are done; calls `signal()` after each that the driver wants to
// hear of. True when the budget ran out: to be called again soon, after others had their turn. The error is
// the queue's or handle's: the guest broke the rules.
//
// `admit(chain)` may say no to a chain: it stays in the queue, and whoever said no calls again when it may go
// on.
template <class Handle, class Signal, class Admit>
Result<bool> ServeQueue(SplitQueue& queue, DescriptorChain& chain, uint32_t budget, Handle handle,
                        Signal signal, Admit admit) {
  queue.DisableNotifications();
  while (budget-- > 0) {
    TRY_ASSIGN(const bool popped, queue.Pop(chain));
    if (popped && !admit(chain)) {
      queue.Unpop();
      return false;
    }
    if (popped) {
      const Result<uint32_t> written = handle(chain);
      if (!written.has_value()) {
        queue.Abandon();
        return written.error();
      }
      queue.Push(chain.head, *written);
      if (queue.NeedsInterrupt()) signal();
    } else if (!queue.EnableNotifications()) {
      return false;
    } else {
      queue.DisableNotifications();
    }
  }
  return true;
}

template <class Handle, class Signal>
Result<bool> ServeQueue(SplitQueue& queue, DescriptorChain& chain, uint32_t budget, Handle handle,
                        Signal signal) {
  return ServeQueue(queue, chain, budget, handle, signal, [](const DescriptorChain&) { return true; });
}

}  // namespace berth::vmm
