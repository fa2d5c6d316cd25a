#include "common/block_pool.h"

#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace berth {
namespace {

struct alignas(64) Line {
  uint64_t words[17];
};

TEST(BlockPool, GivesABlockAgainThatCameBack) {
  BlockPool<100, 8> pool;
  void* first = pool.Take();
  void* second = pool.Take();
  EXPECT_NE(first, second);

  pool.Give(first);

  EXPECT_EQ(pool.Take(), first);
}

TEST(BlockPool, BlocksAreApartAndAligned) {
  BlockPool<sizeof(Line), alignof(Line)> pool;
  std::set<uintptr_t> starts;
  for (int i = 0; i < 2000; ++i) starts.insert(reinterpret_cast<uintptr_t>(pool.Take()));

  EXPECT_EQ(starts.size(), 2000u);
  uintptr_t before = 0;
  for (uintptr_t start : starts) {
    EXPECT_EQ(start % alignof(Line), 0u);
    EXPECT_GE(start - before, sizeof(Line));
    before = start;
  }
}

TEST(BlockPool, SharedValuesMayEndOnOtherThreads) {
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < 4; ++number) {
    threads.emplace_back([number] {
      std::vector<std::shared_ptr<Line>> kept;
      for (uint64_t i = 0; i < 2000; ++i) {
        auto line = std::allocate_shared<Line>(PoolAllocator<Line>());
        for (uint64_t& word : line->words) word = number << 32 | i;
        kept.push_back(line);
        std::shared_ptr<Line>& old = kept[i / 2];
        if (old != nullptr) {
          for (uint64_t word : old->words) ASSERT_EQ(word, number << 32 | i / 2);
        }
        old.reset();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace berth
