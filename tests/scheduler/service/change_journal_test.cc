#include "scheduler/service/change_journal.h"

#include <memory>
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
