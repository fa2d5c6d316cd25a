#include "vmm/convert/access_epochs.h"

#include <algorithm>
#include <functional>
#include <thread>

namespace berth::vmm {

// Why Drain misses nobody: all accesses to slots and epoch are sequentially consistent, and the state of
// pages is read and written under one lock. A user whose slot Drain saw empty, or with the new epoch, has
// stored it after Drain was called, hence takes the lock after the pages were taken out of the shared state.
size_t AccessEpochs::Enter() {
  const size_t start = std::hash<std::thread::id>()(std::this_thread::get_id());
  auto take = [&]() -> size_t {
    for (size_t i = 0; i < kUsers; ++i) {
      const size_t slot = (start + i) % kUsers;
      uint64_t empty = 0;
      if (slots_[slot].epoch.compare_exchange_strong(empty, epoch_.load())) return slot;
    }
    return kUsers;
  };
  size_t slot = take();
  if (slot == kUsers) {
    std::unique_lock lock(mutex_);
    ++waiting_;
    left_.wait(lock, [&] { return (slot = take()) != kUsers; });
    --waiting_;
  }
  return slot;
}

void AccessEpochs::Leave(size_t slot) {
  slots_[slot].epoch.store(0);
  if (waiting_.load() == 0) return;
  // Through the lock, so that whoever looked just before hears of it.
  {
    std::lock_guard lock(mutex_);
  }
  left_.notify_all();
}

bool AccessEpochs::Drain(std::chrono::milliseconds timeout) {
  const uint64_t now = epoch_.fetch_add(1) + 1;
  auto drained = [&] {
    return std::all_of(slots_.begin(), slots_.end(), [now](const Slot& slot) {
      const uint64_t epoch = slot.epoch.load();
      return epoch == 0 || epoch >= now;
    });
  };
  if (drained()) return true;
  std::unique_lock lock(mutex_);
  ++waiting_;
  const bool done = left_.wait_for(lock, timeout, drained);
  --waiting_;
  return done;
}

}  // namespace berth::vmm
