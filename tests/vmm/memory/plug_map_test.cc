#include "vmm/memory/plug_map.h"

#include <gtest/gtest.h>

#include <random>

namespace berth::vmm {
namespace {

TEST(PlugMap, CountsAndJoinsNeighbours) {
  PlugMap map(64, 8);

  map.Set(8, 16, true);
  map.Set(24, 8, true);
  map.Set(48, 8, true);

  EXPECT_EQ(map.plugged(), 32u);
  EXPECT_EQ(map.Runs(), (std::vector<PlugMap::Run>{{8, 24}, {48, 8}}));
  EXPECT_EQ(map.Runs(12, 40), (std::vector<PlugMap::Run>{{12, 20}, {48, 4}}));
  EXPECT_TRUE(map.All(10, 20));
  EXPECT_FALSE(map.All(30, 3));
  EXPECT_TRUE(map.Any(30, 3));
  EXPECT_FALSE(map.Any(32, 16));
}

TEST(PlugMap, NothingIsPluggedBehindItsEnd) {
  PlugMap map(64, 8);
  map.Set(0, 64, true);

  EXPECT_TRUE(map.All(0, 64));
  EXPECT_FALSE(map.All(0, 65));
  EXPECT_FALSE(map.All(64, 1));
  EXPECT_FALSE(map.All(1, UINT64_MAX));
  EXPECT_TRUE(map.Any(63, UINT64_MAX));
  EXPECT_FALSE(map.Any(64, 1));
}

// Against a plain vector of bytes.
TEST(PlugMap, AgreesWithANaiveModel) {
  constexpr uint64_t kBlock = 4, kBlocks = 150;
  std::mt19937_64 random(7);
  PlugMap map(kBlock * kBlocks, kBlock);
  std::vector<bool> bytes(kBlock * kBlocks);
  for (int step = 0; step < 20000; ++step) {
    const uint64_t first = random() % kBlocks;
    const uint64_t count = random() % (kBlocks - first + 1);
    const bool value = random() % 2 == 0;
    if (step % 4 == 0) {
      map.Set(first * kBlock, count * kBlock, value);
      std::fill_n(bytes.begin() + static_cast<long>(first * kBlock), count * kBlock, value);
      continue;
    }
    const uint64_t at = random() % bytes.size();
    const uint64_t length = 1 + random() % (bytes.size() - at);
    const auto begin = bytes.begin() + static_cast<long>(at);
    const auto plugged = static_cast<uint64_t>(std::count(begin, begin + static_cast<long>(length), true));
    ASSERT_EQ(map.All(at, length), plugged == length);
    ASSERT_EQ(map.Any(at, length), plugged > 0);
    uint64_t sum = 0;
    for (const PlugMap::Run& run : map.Runs(at, length)) sum += run.length;
    ASSERT_EQ(sum, plugged);
  }
  EXPECT_EQ(map.plugged(), static_cast<uint64_t>(std::count(bytes.begin(), bytes.end(), true)));
}

}  // namespace
}  // namespace berth::vmm
