#include "common/published.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace berth {
namespace {

TEST(Published, IsEmptyUntilSomethingIsStored) {
  Published<int> published;
  EXPECT_EQ(published.load(), nullptr);
  published.store(std::make_shared<const int>(7));
  EXPECT_EQ(*published.load(), 7);
}

TEST(Published, WhoHasLoadedAVersionKeepsIt) {
  Published<int> published(std::make_shared<const int>(1));
  auto kept = published.load();
  published.store(std::make_shared<const int>(2));
  EXPECT_EQ(*kept, 1);
  EXPECT_EQ(*published.load(), 2);
}

// ThreadSanitizer finds nothing here, as it does with std::atomic<std::shared_ptr> of libstdc++ 12.
TEST(Published, ReadersSeeWholeVersionsInOrderWhileOneWrites) {
  constexpr int kVersions = 20'000;
  using Pair = std::pair<int, int>;
  Published<Pair> published(std::make_shared<const Pair>(0, 0));
  std::vector<std::thread> readers;
  std::vector<int> bad(3, 0);
  for (int& wrong : bad) {
    readers.emplace_back([&published, &wrong] {
      for (int last = 0; last < kVersions;) {
        auto now = published.load();
        if (now->first != now->second || now->first < last) ++wrong;
        last = now->first;
      }
    });
  }
  for (int i = 1; i <= kVersions; ++i) published.store(std::make_shared<const Pair>(i, i));
  for (std::thread& reader : readers) reader.join();

  EXPECT_EQ(bad, std::vector<int>(3, 0));
}

}  // namespace
}  // namespace berth
