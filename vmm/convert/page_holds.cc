#include "vmm/convert/page_holds.h"

#include <algorithm>
#include <utility>

namespace berth::vmm {
namespace {

bool Overlaps(std::span<const StateRun> runs, const PageRange& range) {
  const uint64_t page = range.base / kStatePage * kStatePage;
  // The first run that ends behind the range's first page.
  const auto run = std::upper_bound(runs.begin(), runs.end(), page,
                                    [](uint64_t gpa, const StateRun& r) { return gpa < r.end(); });
  return run != runs.end() && run->base < range.base + range.size;
}

}  // namespace

uint64_t PageHolds::Add(std::span<const PageRange> ranges) {
  std::vector<PageRange> copy(ranges.begin(), ranges.end());
  std::lock_guard lock(mutex_);
  const uint64_t ticket = next_ticket_++;
  held_.emplace(ticket, std::move(copy));
  return ticket;
}

void PageHolds::Remove(uint64_t ticket) {
  std::lock_guard lock(mutex_);
  held_.erase(ticket);
  if (waiting_ > 0) removed_.notify_all();
}

bool PageHolds::AwaitFree(std::span<const StateRun> runs, std::chrono::steady_clock::time_point deadline) {
  const auto free = [&] {
    return std::none_of(held_.begin(), held_.end(), [&](const auto& entry) {
      return std::any_of(entry.second.begin(), entry.second.end(),
                         [&](const PageRange& range) { return Overlaps(runs, range); });
    });
  };
  std::unique_lock lock(mutex_);
  ++waiting_;
  const bool done = removed_.wait_until(lock, deadline, free);
  --waiting_;
  return done;
}

size_t PageHolds::count() const {
  std::lock_guard lock(mutex_);
  return held_.size();
}

}  // namespace berth::vmm
