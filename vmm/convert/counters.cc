#include "vmm/convert/counters.h"

#include <algorithm>
#include <bit>

namespace berth::vmm {

void TimeHistogram::Add(std::chrono::nanoseconds time) {
  const auto microseconds = static_cast<uint64_t>(time.count()) / 1000;
  const size_t bucket = std::min<size_t>(static_cast<size_t>(std::bit_width(microseconds)), kBuckets - 1);
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
}

std::array<uint64_t, TimeHistogram::kBuckets> TimeHistogram::buckets() const {
  std::array<uint64_t, kBuckets> copy;
  for (size_t i = 0; i < kBuckets; ++i) copy[i] = buckets_[i].load(std::memory_order_relaxed);
  return copy;
}

uint64_t TimeHistogram::Quantile(double share) const {
  const auto counts = buckets();
  uint64_t all = 0;
  for (uint64_t count : counts) all += count;
  uint64_t below = 0;
  for (size_t i = 0; i < kBuckets && all > 0; ++i) {
    below += counts[i];
    if (static_cast<double>(below) >= share * static_cast<double>(all)) return uint64_t{1} << i;
  }
  return 0;
}

}  // namespace berth::vmm
