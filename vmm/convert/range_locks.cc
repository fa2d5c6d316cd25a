#include "vmm/convert/range_locks.h"

namespace berth::vmm {

bool RangeLocks::First(uint64_t ticket) const {
  const Range& own = ranges_.at(ticket);
  for (const auto& [other, range] : ranges_) {
    if (other == ticket) return true;
    if (range.base <= own.last && own.base <= range.last) return false;
  }
  return true;
}

RangeLocks::Hold RangeLocks::Lock(uint64_t base, uint64_t size) {
  std::unique_lock lock(mutex_);
  const uint64_t ticket = next_ticket_++;
  ranges_[ticket] = {base, base + (size - 1)};
  if (!First(ticket)) {
    ++contended_;
    released_.wait(lock, [&] { return First(ticket); });
  }
  return {this, ticket};
}

void RangeLocks::Release(uint64_t ticket) {
  {
    std::lock_guard lock(mutex_);
    ranges_.erase(ticket);
  }
  released_.notify_all();
}

uint64_t RangeLocks::contended() const {
  std::lock_guard lock(mutex_);
  return contended_;
}

}  // namespace berth::vmm
