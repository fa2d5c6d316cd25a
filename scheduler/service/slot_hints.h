#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace berth::scheduler {

// Where things may be found that hosts hold: slots of hosts by the hash of the thing, 8 bytes for each.
// Whoever asks looks whether it is there, for hashes may be equal. One entry for each thing in each slot,
// however many are equal: so any of them may be taken out. Kept in many tables, so that with millions of
// entries nobody waits for all of them when one table gets larger. Not thread-safe.
class SlotHints {
 public:
  void Add(uint64_t hash, size_t slot) {
    const Entry entry = EntryOf(hash, slot);
    TableOf(entry).Add(entry);
  }
  // Takes one out; nothing happens if there is none.
  void Remove(uint64_t hash, size_t slot) {
    const Entry entry = EntryOf(hash, slot);
    TableOf(entry).Remove(entry);
  }
  // Calls `visit(slot)` for each entry with the hash.
  template <class Visitor>
  void ForEach(uint64_t hash, Visitor visit) const {
    const Entry wanted = EntryOf(hash, 0);
    tables_[wanted.hash >> kTableShift].ForEach(wanted.hash, visit);
  }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Entry {
    uint32_t hash = 0;
    uint32_t slot = kEmpty;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  // By the hash's low bits, in the next free place behind.
  class Table {
   public:
    void Add(const Entry& entry) {
      if (4 * (used_ + 1) > 3 * entries_.size()) Grow();
      Put(entry);
      ++used_;
    }
    void Remove(const Entry& gone) {
      if (entries_.empty()) return;
      size_t hole = Home(gone.hash);
      for (; entries_[hole] != gone; hole = Next(hole)) {
        if (entries_[hole].slot == kEmpty) return;
      }
      --used_;
      // Those behind move up as far as they may, so that no search ends too early.
      for (size_t at = Next(hole); entries_[at].slot != kEmpty; at = Next(at)) {
        if (Distance(Home(entries_[at].hash), at) < Distance(hole, at)) continue;
        entries_[hole] = entries_[at];
        hole = at;
      }
      entries_[hole] = Entry{};
    }
    template <class Visitor>
    void ForEach(uint32_t hash, Visitor visit) const {
      if (entries_.empty()) return;
      for (size_t at = Home(hash); entries_[at].slot != kEmpty; at = Next(at)) {
        if (entries_[at].hash == hash) visit(size_t{entries_[at].slot});
      }
    }

   private:
    // Sizes are powers of two.
    size_t Mask() const { return entries_.size() - 1; }
    size_t Home(uint32_t hash) const { return hash & Mask(); }
    size_t Next(size_t at) const { return (at + 1) & Mask(); }
    // Steps from one place to another.
    size_t Distance(size_t from, size_t to) const { return (to - from) & Mask(); }
    void Put(const Entry& entry) {
      size_t at = Home(entry.hash);
      while (entries_[at].slot != kEmpty) at = Next(at);
      entries_[at] = entry;
    }
    void Grow() {
      std::vector<Entry> old(entries_.empty() ? 8 : 2 * entries_.size());
      old.swap(entries_);
      for (const Entry& entry : old) {
        if (entry.slot != kEmpty) Put(entry);
      }
    }

    std::vector<Entry> entries_;
    size_t used_ = 0;
  };

  static Entry EntryOf(uint64_t hash, size_t slot) {
    return {static_cast<uint32_t>(hash), static_cast<uint32_t>(slot)};
  }
  Table& TableOf(const Entry& entry) { return tables_[entry.hash >> kTableShift]; }

  // By the hash's high bits.
  static constexpr uint32_t kTableShift = 24;
  std::array<Table, size_t{1} << (32 - kTableShift)> tables_;
};

}  // namespace berth::scheduler
