#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace berth::vmm {

// Which blocks of a hot-plug area hold memory now. Readers on any thread, without a lock; writers one at a
// time. Offsets count from the area's start.
class PlugMap {
 public:
  // `size` is a multiple of `block`.
  PlugMap(uint64_t size, uint64_t block);

  uint64_t block() const { return block_; }
  uint64_t size() const { return size_; }
  uint64_t plugged() const { return plugged_.load(std::memory_order_relaxed); }  // bytes

  // All, or any, of the bytes [offset, offset + length); outside of the area there are none. Not for length
  // 0.
  bool All(uint64_t offset, uint64_t length) const { return Check(offset, length, true); }
  bool Any(uint64_t offset, uint64_t length) const { return !Check(offset, length, false); }
  // Whole blocks inside the area.
  void Set(uint64_t offset, uint64_t length, bool plugged);

  struct Run {
    uint64_t offset;
    uint64_t length;
    friend bool operator==(const Run&, const Run&) = default;
  };
  // What is plugged inside [offset, offset + length), in order, neighbours joined.
  std::vector<Run> Runs(uint64_t offset, uint64_t length) const;
  std::vector<Run> Runs() const { return Runs(0, size_); }

 private:
  // Whether every touched block has this state; false for plugged and true for unplugged outside the area.
  bool Check(uint64_t offset, uint64_t length, bool plugged) const;
  bool Get(uint64_t index) const {
    return (words_[index / 64].load(std::memory_order_acquire) >> index % 64 & 1) != 0;
  }

  const uint64_t size_;
  const uint64_t block_;
  std::vector<std::atomic<uint64_t>> words_;
  std::atomic<uint64_t> plugged_{0};
};

}  // namespace berth::vmm
