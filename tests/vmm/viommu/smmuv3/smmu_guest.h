#pragma once

#include <cstdint>
#include <vector>

#include "tests/fakes/guest_ram.h"

namespace berth::vmm::smmuv3 {

// A guest's tables in its RAM: stream table entries, context descriptors, tables of granule 4 KiB. Pages are
// taken from [first, end).
class SmmuGuest {
 public:
  static constexpr uint64_t kPage = 4096;
  // Of an entry: a page or table, its flag, unprivileged, read-only (stage 1), readable, writable (stage 2).
  static constexpr uint64_t kValid = 3, kBlock = 1, kAccessed = 1 << 10, kUser = 1 << 6, kReadOnly = 1 << 7;
  static constexpr uint64_t kRead2 = 1 << 6, kWrite2 = 1 << 7;
  static constexpr uint64_t kUserPage = kValid | kAccessed | kUser;
  static constexpr uint64_t kPage2 = kValid | kAccessed | kRead2 | kWrite2;

  SmmuGuest(GuestRam& ram, uint64_t first, uint64_t end) : ram_(ram), next_(first), end_(end) {}

  uint64_t NewPage() {
    CHECK(next_ + kPage <= end_);
    next_ += kPage;
    return next_ - kPage;
  }
  void Put(uint64_t address, const std::vector<uint64_t>& words) {
    for (size_t i = 0; i < words.size(); ++i) ram_.PutObject(address + 8 * i, words[i]);
  }
  // Of 48 input bits from level 0, or of 39 from level 1, and so on; leaf: the level of the entry.
  void SetEntry(uint64_t table, uint32_t start, uint64_t address, uint64_t entry, uint32_t leaf = 3) {
    for (uint32_t level = start; level < leaf; ++level) {
      const uint64_t at = table + 8 * (address >> (39 - 9 * level) & 0x1ff);
      auto next = ram_.GetObject<uint64_t>(at);
      if ((next & 1) == 0) {
        next = NewPage() | kValid;
        ram_.PutObject(at, next);
      }
      table = next & ~(kPage - 1);
    }
    ram_.PutObject(table + 8 * (address >> (39 - 9 * leaf) & 0x1ff), entry);
  }
  // A descriptor for addresses of `bits` bits below `table`.
  static std::vector<uint64_t> Context(uint64_t table, uint64_t bits = 48, uint64_t more = 0) {
    constexpr uint64_t kValidContext = uint64_t{1} << 31, kWide = uint64_t{1} << 41,
                       kTell = uint64_t{1} << 45;
    constexpr uint64_t kNoUpperHalf = 1 << 30, kOutput48 = uint64_t{5} << 32;
    return {(64 - bits) | kNoUpperHalf | kValidContext | kOutput48 | kWide | kTell | more, table};
  }
  // A stream's entry: configuration (4 bypass, 5 stage 1, 6 stage 2, 7 both); stage 2 has 40 bits from
  // level 1.
  static std::vector<uint64_t> Stream(uint64_t config, uint64_t context = 0, uint64_t stage2 = 0) {
    const uint64_t two =
        uint64_t{24} << 32 | uint64_t{1} << 38 | uint64_t{5} << 48 | uint64_t{1} << 51 | uint64_t{1} << 58;
    return {1 | config << 1 | context, 0, stage2 != 0 ? two : 0, stage2, 0, 0, 0, 0};
  }

 private:
  GuestRam& ram_;
  uint64_t next_;
  const uint64_t end_;
};

}  // namespace berth::vmm::smmuv3
