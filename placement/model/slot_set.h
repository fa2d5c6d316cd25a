#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace berth::placement {

// A tree's number in a ResourceView. Dense; a number may be empty for a while after its tree has gone.
using TreeSlot = uint32_t;

// A set of trees as a bitmap.
class SlotSet {
 public:
  bool Has(TreeSlot slot) const {
    return slot / 64 < words_.size() && (words_[slot / 64] >> (slot % 64) & 1) != 0;
  }
  void Add(TreeSlot slot) {
    if (slot / 64 >= words_.size()) words_.resize(slot / 64 + 1);
    words_[slot / 64] |= uint64_t{1} << (slot % 64);
  }
  void Remove(TreeSlot slot) {
    if (slot / 64 < words_.size()) words_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  }
  bool Empty() const {
    for (uint64_t word : words_) {
      if (word != 0) return false;
    }
    return true;
  }
  size_t Count() const {
    size_t count = 0;
    for (uint64_t word : words_) count += static_cast<size_t>(std::popcount(word));
    return count;
  }
  // Bit s % 64 of word s / 64; words beyond the end are 0.
  std::span<const uint64_t> words() const { return words_; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace berth::placement
