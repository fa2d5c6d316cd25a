#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "vmm/memory/page_visibility.h"
#include "vmm/pagestate/page_state_map.h"

namespace berth::vmm {

// Ranges of shared memory that requests of devices use for as long as they take: a disk's may take long, and
// only conversions of the very pages wait for it. Thread-safe.
class PageHolds {
 public:
  // A ticket for Remove.
  uint64_t Add(std::span<const PageRange> ranges);
  void Remove(uint64_t ticket);
  // True when nobody holds a page of `runs` (by address, disjoint), which nobody may add any more; false when
  // somebody still does at `deadline`.
  bool AwaitFree(std::span<const StateRun> runs, std::chrono::steady_clock::time_point deadline);
  size_t count() const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable removed_;
  std::unordered_map<uint64_t, std::vector<PageRange>> held_;
  uint64_t next_ticket_ = 1;
  uint32_t waiting_ = 0;
};

}  // namespace berth::vmm
