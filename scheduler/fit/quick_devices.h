#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/request_plan.h"

namespace berth::scheduler {

// A host's devices as one request sees them, counted.
class QuickDevices {
 public:
  // Free devices that serve the same requests from the same place.
  struct Bucket {
    uint64_t serves = 0;
    int32_t cell = 0;  // as DeviceGroup::cell
    uint32_t count = 0;
  };
  static constexpr size_t kMaxBuckets = 64;

  // False: counts do not tell (see FitQuickly).
  bool Collect(const FitHost& host, const RequestPlan& plan);

  // The fewest non-local devices for a guest on the cells of `local`, with `socket` the cells that share a
  // socket with one of them; nothing when the devices do not suffice. Exact: by Hall's theorem over every set
  // of requests, and because local devices can be taken first without loss (the sets of devices that can be
  // matched are the independent sets of a matroid).
  std::optional<uint32_t> Count(uint64_t local, uint64_t socket) const;
  // Likewise without guest topology, where every device is as good as another.
  bool Suffice() const;

  // Below the non-local devices of every choice of `cells` among `usable`; nothing when none suffices.
  std::optional<uint32_t> LowerBound(uint64_t usable, uint32_t cells) const;

  const Bucket* begin() const { return buckets_.data(); }
  const Bucket* end() const { return buckets_.data() + size_; }

 private:
  static constexpr size_t kSets = size_t{1} << RequestPlan::kMaxQuick;
  using Counts = std::array<uint32_t, kSets>;  // by set of requests

  bool Add(uint64_t serves, int32_t cell, uint32_t count);
  static bool SeenFamily(const FitHost& host, const DeviceGroup& group, const RequestPlan& plan);
  Nearness NearnessOf(int32_t cell, uint64_t local, uint64_t socket) const;
  // The most units of demand that devices can meet, given how many serve exactly each set.
  uint32_t MostMet(Counts& exactly) const;

  const RequestPlan* plan_ = nullptr;
  size_t sets_ = 1;
  Counts demand_{};  // of each set of requests together
  std::array<Bucket, kMaxBuckets> buckets_;
  size_t size_ = 0;
};

}  // namespace berth::scheduler
