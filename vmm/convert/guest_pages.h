#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <utility>

#include "vmm/convert/access_epochs.h"
#include "vmm/convert/page_holds.h"
#include "vmm/convert/states_lock.h"
#include "vmm/memory/page_visibility.h"
#include "vmm/pagestate/page_state_map.h"

namespace berth::vmm {

// The page-state map for many threads, and the way in for those who use shared pages. Thread-safe.
class GuestPages final : public PageVisibility {
 public:
  explicit GuestPages(PageStateMap states) : states_(std::move(states)), regions_(states_.regions()) {}

  // Reads or changes the map in `use`, which must not block.
  template <class Use>
  auto Read(Use use) const {
    std::shared_lock lock(mutex_);
    return use(states_);
  }
  template <class Use>
  auto Change(Use use) {
    std::lock_guard lock(mutex_);
    return use(states_);
  }
  const std::vector<StateRegion>& regions() const { return regions_; }

  // Visible is what is shared.
  uint64_t Visible(uint64_t gpa, uint64_t size) const override {
    std::shared_lock lock(mutex_);
    return states_.BytesIn(PageState::kShared, gpa, size);
  }
  uint64_t generation() const override { return generation_.load(std::memory_order_acquire); }
  size_t Enter() override { return epochs_.Enter(); }
  void Leave(size_t ticket) override { epochs_.Leave(ticket); }
  uint64_t Hold(std::span<const PageRange> ranges) override { return holds_.Add(ranges); }
  void Release(uint64_t hold) override { holds_.Remove(hold); }

  // Takes shared pages out of everybody's use: they are converting. False: after `timeout` somebody still
  // uses some page, or holds one of these.
  bool Block(std::span<const StateRun> runs, std::chrono::milliseconds timeout);

 private:
  mutable StatesLock mutex_;  // guards states_
  PageStateMap states_;
  const std::vector<StateRegion> regions_;
  std::atomic<uint64_t> generation_{0};
  AccessEpochs epochs_;
  PageHolds holds_;
};

}  // namespace berth::vmm
