#include "scheduler/service/slot_hints.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

std::vector<size_t> SlotsOf(const SlotHints& hints, uint64_t hash) {
  std::vector<size_t> slots;
  hints.ForEach(hash, [&](size_t slot) { slots.push_back(slot); });
  std::sort(slots.begin(), slots.end());
  return slots;
}

// Hashes that stand close together, also at the table's end, and equal entries.
TEST(SlotHints, AreAMultisetOfHashAndSlot) {
  std::mt19937 random(3);
  SlotHints hints;
  std::vector<std::pair<uint64_t, size_t>> expected;
  auto draw = [&] {
    const uint64_t base = random() % 2 == 0 ? 0xffff'fff0 : random() % 3 * 1000;
    return std::pair(base + random() % 40, size_t{random() % 5});
  };
  for (int step = 0; step < 60000; ++step) {
    const bool grows = step / 3000 % 2 == 0;
    if (random() % 8 < (grows ? 5U : 3U)) {
      const auto one = draw();
      hints.Add(one.first, one.second);
      expected.push_back(one);
    } else if (!expected.empty()) {
      auto gone = std::next(expected.begin(), static_cast<ptrdiff_t>(random() % expected.size()));
      hints.Remove(gone->first, gone->second);
      *gone = expected.back();
      expected.pop_back();
    }

    const uint64_t hash = draw().first;
    std::vector<size_t> slots;
    for (const auto& [known, slot] : expected) {
      if (static_cast<uint32_t>(known) == static_cast<uint32_t>(hash)) slots.push_back(slot);
    }
    std::sort(slots.begin(), slots.end());
    ASSERT_EQ(SlotsOf(hints, hash), slots) << step;
  }
}

TEST(SlotHints, TakingOutWhatIsNotThereChangesNothing) {
  SlotHints hints;
  hints.Remove(7, 1);
  hints.Add(7, 1);

  hints.Remove(7, 2);
  hints.Remove(8, 1);

  EXPECT_EQ(SlotsOf(hints, 7), std::vector<size_t>{1});
}

}  // namespace
}  // namespace berth::scheduler
