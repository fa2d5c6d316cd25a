#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace berth::scheduler {

// The slots that changed from one picture of the fleet to the next, the last kSize of them. Change number n
// leads from picture n to picture n + 1. Readers never wait: one that was overtaken is told so.
class ChangeJournal {
 public:
  static constexpr uint64_t kSize = uint64_t{1} << 14;

  // Enters the change that follows picture `picture`; `renamed`: the slot holds another host, or none, now.
  // False: another change follows it already.
  bool Append(uint64_t picture, size_t slot, bool renamed) {
    uint64_t expected = picture;
    if (!end_.compare_exchange_strong(expected, picture + 1)) return false;
    slots_[picture % kSize].store(static_cast<uint32_t>(slot << 1 | (renamed ? 1 : 0)),
                                  std::memory_order_release);
    return true;
  }

  // Calls `visit(slot, renamed)` for each change from picture `from` to picture `to`, which the caller holds.
  // False: some are not known any more, and what was visited is no answer.
  template <class Visitor>
  bool ForEach(uint64_t from, uint64_t to, Visitor visit) const {
    if (from > to || to - from > kSize) return false;
    for (uint64_t number = from; number < to; ++number) {
      uint32_t entry = slots_[number % kSize].load(std::memory_order_acquire);
      visit(size_t{entry >> 1}, (entry & 1) != 0);
    }
    // An entry that was overwritten meanwhile has moved the end before.
    return end_.load(std::memory_order_acquire) - from <= kSize;
  }

 private:
  std::array<std::atomic<uint32_t>, kSize> slots_{};
  std::atomic<uint64_t> end_ = 0;
};

}  // namespace berth::scheduler
