#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace berth::scheduler {

// What one class of requests is worth on hosts of the states seen lately. When it holds as many as it may it
// forgets all of them: answers can be found again. Not thread-safe.
class StateMemo {
 public:
  // The answer for a state (see FitState; not 0), valid until the next Keep; nullptr: not known.
  const uint64_t* Find(uint64_t state) const {
    if (slots_.empty()) return nullptr;
    for (size_t at = Home(state);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].state == state) return &slots_[at].answer;
      if (slots_[at].state == 0) return nullptr;
    }
  }

  // Keeps an answer that is not there yet, as one of at most `most`.
  void Keep(uint64_t state, uint64_t answer, size_t most) {
    if (used_ >= most) {
      slots_.clear();
      used_ = 0;
    }
    if (2 * (used_ + 1) > slots_.size()) Grow();
    Put(state, answer);
    ++used_;
  }

 private:
  struct Slot {
    uint64_t state = 0;  // 0: empty
    uint64_t answer = 0;
  };

  // Sizes are powers of two; states count up, so that they spread by themselves.
  size_t Home(uint64_t state) const { return state & (slots_.size() - 1); }
  void Put(uint64_t state, uint64_t answer) {
    size_t at = Home(state);
    while (slots_[at].state != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {state, answer};
  }
  void Grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.state != 0) Put(slot.state, slot.answer);
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace berth::scheduler
