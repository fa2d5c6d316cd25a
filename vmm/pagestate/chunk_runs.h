#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "vmm/pagestate/page_state.h"

namespace berth::vmm {

inline constexpr uint32_t kPagesPerChunk = kStateChunk / kStatePage;

// The states of a chunk's pages as runs: the form in which they are changed. Neighbours differ.
class ChunkRuns {
 public:
  // A chunk of `pages` (1 to 512) pages that are all alike.
  ChunkRuns(uint32_t pages, PageState state) { Append(pages, state); }
  // From a slot's bytes. A slot of 128 bytes holds two bits for each page, a smaller one a list of runs.
  ChunkRuns(uint32_t pages, std::span<const uint8_t> slot);

  uint32_t count() const { return count_; }
  uint32_t begin(uint32_t run) const { return run == 0 ? 0 : end(run - 1); }
  uint32_t end(uint32_t run) const { return (runs_[run] & 0x1ffU) + 1; }
  PageState state(uint32_t run) const { return static_cast<PageState>(runs_[run] >> 9); }

  // The smallest slot class (see ChunkPool) that holds it.
  int SlotClass() const;
  // Into a slot of that class.
  void Store(std::span<uint8_t> slot) const;

  // Every page in [first, last) goes from its state s to `to[s]`. Calls changed(first, last, old state) for
  // each run of pages whose state has changed.
  template <class Changed>
  void Transform(uint32_t first, uint32_t last, const std::array<PageState, kPageStates>& to,
                 Changed changed) {
    const ChunkRuns old = *this;
    count_ = 0;
    for (uint32_t i = 0; i < old.count(); ++i) {
      const PageState before = old.state(i);
      const PageState after = to[static_cast<size_t>(before)];
      const uint32_t cut_first = std::clamp(first, old.begin(i), old.end(i));
      const uint32_t cut_last = std::clamp(last, old.begin(i), old.end(i));
      if (before == after || cut_first >= cut_last) {
        Append(old.end(i), before);
        continue;
      }
      if (cut_first > old.begin(i)) Append(cut_first, before);
      Append(cut_last, after);
      if (cut_last < old.end(i)) Append(old.end(i), before);
      changed(cut_first, cut_last, before);
    }
  }

 private:
  static uint16_t Pack(uint32_t end, PageState state) {
    return static_cast<uint16_t>((end - 1) | static_cast<uint32_t>(state) << 9);
  }
  // Pages up to `end`; joins with the last run where it is alike.
  void Append(uint32_t end, PageState state) {
    if (count_ > 0 && this->state(count_ - 1) == state) --count_;
    runs_[count_++] = Pack(end, state);
  }

  std::array<uint16_t, kPagesPerChunk> runs_;  // (end - 1) | state << 9
  uint32_t count_ = 0;
};

// One page's state out of a slot's bytes, without unpacking it.
PageState StateInSlot(std::span<const uint8_t> slot, uint32_t page);

// Whether the slot has two bits for each page: such a slot is changed in place.
bool IsDense(std::span<const uint8_t> slot);
void SetInDense(std::span<uint8_t> slot, uint32_t page, PageState state);
// How many runs a dense slot of a chunk with so many pages has.
uint32_t RunsInDense(std::span<const uint8_t> slot, uint32_t pages);
// From so few runs on a smaller slot holds a chunk.
inline constexpr uint32_t kMaxListedRuns = 32;

}  // namespace berth::vmm
