#include "vmm/pagestate/chunk_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace berth::vmm {
namespace {

TEST(ChunkPool, SlotsOfOneClassShareABlock) {
  ChunkPool pool;

  for (int i = 0; i < 8; ++i) pool.Take(0);

  EXPECT_EQ(pool.blocks_in_use(), 1u);
  pool.Take(0);
  EXPECT_EQ(pool.blocks_in_use(), 2u);
}

TEST(ChunkPool, ABlockWhoseSlotsAreAllFreeServesAnotherClass) {
  ChunkPool pool;
  std::vector<uint32_t> small;
  for (int i = 0; i < 32 * 8; ++i) small.push_back(pool.Take(0));
  const uint64_t memory = pool.memory_bytes();

  for (uint32_t slot : small) pool.Free(slot);
  for (int i = 0; i < 32; ++i) pool.Take(3);

  EXPECT_EQ(pool.memory_bytes(), memory);
}

TEST(ChunkPool, KeepsContentAndNeverMoreBlocksThanSlots) {
  std::mt19937 random(7);
  ChunkPool pool;
  std::map<uint32_t, std::pair<int, uint8_t>> slots;  // class, content
  for (int round = 0; round < 50'000; ++round) {
    if (slots.empty() || random() % 100 < (round / 5000 % 2 == 0 ? 70u : 30u)) {
      const int slot_class = static_cast<int>(random() % 4);
      const uint32_t slot = pool.Take(slot_class);
      ASSERT_TRUE(slots.emplace(slot, std::pair(slot_class, static_cast<uint8_t>(random()))).second);
      ASSERT_EQ(pool.Bytes(slot).size(), ChunkPool::SlotBytes(slot_class));
      std::fill(pool.Bytes(slot).begin(), pool.Bytes(slot).end(), slots[slot].second);
    } else {
      auto it = std::next(slots.begin(), static_cast<ptrdiff_t>(random() % slots.size()));
      for (uint8_t byte : pool.Bytes(it->first)) ASSERT_EQ(byte, it->second.second);
      pool.Free(it->first);
      slots.erase(it);
    }
    ASSERT_LE(pool.blocks_in_use(), slots.size());
  }
  for (const auto& [slot, content] : slots) {
    for (uint8_t byte : pool.Bytes(slot)) ASSERT_EQ(byte, content.second);
  }
}

}  // namespace
}  // namespace berth::vmm
