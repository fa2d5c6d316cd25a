#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace berth::scheduler {

// Where things may be found that hosts hold: slots of hosts by the hash of the thing, 8 bytes for each.
// Whoever asks looks whether it is there, for hashes may be equal. One entry for each thing in each slot,
// however many are equal: so any of them may be taken out. Not thread-safe.
class SlotHints {
 public:
  void Add(uint64_t hash, size_t slot) {
    if (4 * (used_ + 1) > 3 * entries_.size()) Grow();
    Put({static_cast<uint32_t>(hash), static_cast<uint32_t>(slot)});
    ++used_;
  }

  // Takes one out; nothing happens if there is none.
  void Remove(uint64_t hash, size_t slot) {
    if (entries_.empty()) return;
    const Entry gone{static_cast<uint32_t>(hash), static_cast<uint32_t>(slot)};
    size_t hole = Home(gone);
    for (; entries_[hole] != gone; hole = Next(hole)) {
      if (entries_[hole].slot == kEmpty) return;
    }
    --used_;
    // Those behind move up as far as they may, so that no search ends too early.
    for (size_t at = Next(hole); entries_[at].slot != kEmpty; at = Next(at)) {
      if (Distance(Home(entries_[at]), at) < Distance(hole, at)) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = Entry{};
  }

  // Calls `visit(slot)` for each entry with the hash.
  template <class Visitor>
  void ForEach(uint64_t hash, Visitor visit) const {
    if (entries_.empty()) return;
    const Entry wanted{static_cast<uint32_t>(hash), 0};
    for (size_t at = Home(wanted); entries_[at].slot != kEmpty; at = Next(at)) {
      if (entries_[at].hash == wanted.hash) visit(size_t{entries_[at].slot});
    }
  }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Entry {
    uint32_t hash = 0;
    uint32_t slot = kEmpty;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  // Sizes are powers of two.
  size_t Mask() const { return entries_.size() - 1; }
  size_t Home(const Entry& entry) const { return entry.hash & Mask(); }
  size_t Next(size_t at) const { return (at + 1) & Mask(); }
  // Steps from one place to another.
  size_t Distance(size_t from, size_t to) const { return (to - from) & Mask(); }
  void Put(const Entry& entry) {
    size_t at = Home(entry);
    while (entries_[at].slot != kEmpty) at = Next(at);
    entries_[at] = entry;
  }
  void Grow() {
    std::vector<Entry> old(entries_.empty() ? 64 : 2 * entries_.size());
    old.swap(entries_);
    for (const Entry& entry : old) {
      if (entry.slot != kEmpty) Put(entry);
    }
  }

  std::vector<Entry> entries_;
  size_t used_ = 0;
};

}  // namespace berth::scheduler
