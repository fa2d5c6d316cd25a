#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "vmm/convert/conversion.h"

namespace berth::vmm {

// How long something took, in powers of two: bucket i counts what took less than 2^i microseconds.
class TimeHistogram {
 public:
  static constexpr size_t kBuckets = 24;

  void Add(std::chrono::nanoseconds time);
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  std::array<uint64_t, kBuckets> buckets() const;
  // The upper end of the bucket in which the share (0 to 1) of all lies, in microseconds; 0 for none.
  uint64_t Quantile(double share) const;

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> count_{0};
};

// What conversions have cost so far.
struct ConversionCounters {
  std::array<uint64_t, 2> conversions{};  // by Direction; that changed something and succeeded
  std::array<uint64_t, 2> bytes{};
  std::array<uint64_t, 2> runs{};
  uint64_t nothing_to_do = 0;
  std::array<uint64_t, kConversionSteps + 1> failures{};  // by ConversionStep (place 0 unused)
  uint64_t undone = 0;                                    // conversions that were taken back
  uint64_t attribute_calls = 0;                           // calls, whether they succeeded or not
  uint64_t populate_calls = 0;
  uint64_t discard_calls = 0;
  uint64_t leaked_bytes =
      0;                     // that could not be discarded: used on both sides until they are converted again
  uint64_t range_waits = 0;  // for another conversion that overlaps
};

}  // namespace berth::vmm
