#include "scheduler/service/change_journal.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/service/state_memo.h"

namespace berth::scheduler {
namespace {

using Changes = std::vector<std::pair<size_t, bool>>;

Changes Read(const ChangeJournal& journal, uint64_t from, uint64_t to, bool expected = true) {
  Changes out;
  EXPECT_EQ(journal.ForEach(from, to, [&](size_t slot, bool renamed) { out.emplace_back(slot, renamed); }),
            expected);
  return out;
}

TEST(ChangeJournal, TellsTheChangesBetweenTwoPicturesInOrder) {
  ChangeJournal journal;
  EXPECT_TRUE(journal.Append(0, 7, true));
  EXPECT_TRUE(journal.Append(1, 9, false));
  EXPECT_TRUE(journal.Append(2, 7, false));

  EXPECT_EQ(Read(journal, 1, 3), (Changes{{9, false}, {7, false}}));
  EXPECT_EQ(Read(journal, 0, 1), (Changes{{7, true}}));
  EXPECT_EQ(Read(journal, 2, 2), Changes{});
}

TEST(ChangeJournal, AcceptsOneChangeAfterEachPicture) {
  ChangeJournal journal;
  EXPECT_TRUE(journal.Append(0, 1, false));
  EXPECT_FALSE(journal.Append(0, 2, false));
  EXPECT_EQ(Read(journal, 0, 1), (Changes{{1, false}}));
}

TEST(ChangeJournal, TellsThatItForgotAndThatItCanNotGoBack) {
  auto journal = std::make_unique<ChangeJournal>();
  for (uint64_t i = 0; i <= ChangeJournal::kSize; ++i) ASSERT_TRUE(journal->Append(i, i, false));

  Read(*journal, 0, ChangeJournal::kSize + 1, false);
  Read(*journal, 0, 5, false);  // overwritten since
  EXPECT_EQ(Read(*journal, 1, ChangeJournal::kSize + 1).size(), ChangeJournal::kSize);
  Read(*journal, 5, 4, false);
}

// For TSan above all. One reader asks for what is new, the other for as much as the journal can hold.
TEST(ChangeJournal, ReadersBesideTheWriterSeeTheChangesOrAreToldThatTheyAreLate) {
  auto journal = std::make_unique<ChangeJournal>();
  auto slot_of = [](uint64_t number) { return static_cast<size_t>(number * 2654435761u % 1000003); };
  auto renamed = [](uint64_t number) { return number % 7 == 0; };
  constexpr uint64_t kChanges = 300'000;
  std::atomic<uint64_t> published = 0;
  std::thread writer([&] {
    for (uint64_t number = 0; number < kChanges; ++number) {
      EXPECT_TRUE(journal->Append(number, slot_of(number), renamed(number)));
      published.store(number + 1, std::memory_order_release);
    }
  });
  auto read = [&](bool old) {
    uint64_t from = 0;
    for (uint64_t to = 0; to < kChanges;) {
      to = published.load(std::memory_order_acquire);
      uint64_t number = from;
      uint64_t wrong = 0;
      bool known = journal->ForEach(from, to, [&](size_t slot, bool other) {
        wrong += slot != slot_of(number) || other != renamed(number) ? 1 : 0;
        ++number;
      });
      if (known) {
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(number, to);
      }
      from = old ? to - std::min(to, ChangeJournal::kSize - 100) : to;
    }
  };
  std::thread fresh(read, false);
  std::thread late(read, true);
  writer.join();
  fresh.join();
  late.join();
}

TEST(StateMemo, KnowsWhatWasKeptUntilItIsFull) {
  StateMemo memo;
  EXPECT_EQ(memo.Find(1), nullptr);
  // States that meet in one place of the table.
  for (uint64_t i = 1; i <= 100; ++i) memo.Keep(i * 4096, i, 100);
  for (uint64_t i = 1; i <= 100; ++i) {
    ASSERT_NE(memo.Find(i * 4096), nullptr);
    EXPECT_EQ(*memo.Find(i * 4096), i);
  }

  memo.Keep(5, 6, 100);

  EXPECT_EQ(memo.Find(4096), nullptr);
  EXPECT_EQ(*memo.Find(5), 6u);
}

}  // namespace
}  // namespace berth::scheduler
