#include "vmm/convert/guest_pages.h"

namespace berth::vmm {

bool GuestPages::Block(std::span<const StateRun> runs, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  {
    std::lock_guard lock(mutex_);
    for (const StateRun& run : runs) {
      states_.Replace(run.base, run.size, PageState::kShared, PageState::kConverting);
    }
    generation_.fetch_add(1, std::memory_order_acq_rel);
  }
  // Whoever has looked the pages up before holds them by the time he leaves, and nobody finds them any more.
  return epochs_.Drain(timeout) && holds_.AwaitFree(runs, deadline);
}

}  // namespace berth::vmm
