#pragma once

#include <cstdint>
#include <vector>

#include "tests/fakes/guest_ram.h"

namespace berth::vmm::vtd {

// A guest's tables in its RAM, as its kernel makes them. Pages for them are taken from [first, end).
class GuestTables {
 public:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kRead = 1, kWrite = 2, kLarge = 1 << 7;

  GuestTables(GuestRam& ram, uint64_t first, uint64_t end) : ram_(ram), next_(first), end_(end) {}

  uint64_t NewPage() {
    uint64_t page = next_;
    if (free_.empty()) {
      CHECK(next_ + kPage <= end_);
      next_ += kPage;
    } else {
      page = free_.back();
      free_.pop_back();
    }
    ram_.Put(page, std::vector<uint8_t>(kPage, 0));
    return page;
  }
  void SetRootEntry(uint64_t root, uint8_t bus, uint64_t contexts) {
    ram_.PutObject(root + 16 * bus, contexts | 1);
  }
  void SetContext(uint64_t contexts, uint8_t devfn, uint64_t low, uint64_t high) {
    ram_.PutObject(contexts + 16 * devfn + 8, high);
    ram_.PutObject(contexts + 16 * devfn, low);
  }
  // The entry for an address, at the leaf's level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB); tables on the way are made.
  void SetEntry(uint64_t top, uint32_t levels, uint64_t address, uint64_t entry, uint32_t leaf = 1) {
    uint64_t table = top;
    for (uint32_t level = levels; level > leaf; --level) {
      const uint64_t at = table + 8 * (address >> (3 + 9 * level) & 0x1ff);
      uint64_t next = ram_.GetObject<uint64_t>(at);
      if ((next & (kRead | kWrite)) == 0 || (next & kLarge) != 0) {
        next = NewPage() | kRead | kWrite;
        ram_.PutObject(at, next);
      }
      table = next & ~(kPage - 1);
    }
    const uint64_t at = table + 8 * (address >> (3 + 9 * leaf) & 0x1ff);
    const auto before = ram_.GetObject<uint64_t>(at);
    ram_.PutObject(at, entry);
    // A table in its place is needed no more (of one with tables below it only itself).
    if (leaf > 1 && (before & (kRead | kWrite)) != 0 && (before & kLarge) == 0) {
      free_.push_back(before & ~(kPage - 1));
    }
  }

 private:
  GuestRam& ram_;
  uint64_t next_;
  const uint64_t end_;
  std::vector<uint64_t> free_;
};

}  // namespace berth::vmm::vtd
