#include "common/cpu_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

namespace berth {
namespace {

TEST(CpuSet, ParsesTheKernelsListSyntax) {
  Result<CpuSet> set = CpuSet::Parse(" 0-3, 8,512 \n");

  ASSERT_TRUE(set.has_value()) << set.error().ToString();
  EXPECT_EQ(set->ToVector(), (std::vector<uint32_t>{0, 1, 2, 3, 8, 512}));
  EXPECT_EQ(set->ToString(), "0-3,8,512");
}

TEST(CpuSet, EmptyTextIsTheEmptySet) {
  EXPECT_TRUE(CpuSet::Parse("")->empty());
  EXPECT_TRUE(CpuSet::Parse("\n")->empty());
}

TEST(CpuSet, RefusesWhatIsNotAList) {
  for (const char* text : {"a", "1,", ",1", "1--2", "3-1", "-1", "1;2", "0x3", "1-"}) {
    EXPECT_EQ(CpuSet::Parse(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(CpuSet, RefusesNumbersAboveTheLimitWithoutTakingMemory) {
  EXPECT_EQ(CpuSet::Parse("0-4294967295").status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(CpuSet::Parse("99999999999999999999").status().code(), StatusCode::kOutOfRange);
}

TEST(CpuSet, AgreesWithStdSetUnderRandomOperations) {
  std::mt19937 random(7);
  CpuSet set;
  std::set<uint32_t> model;
  for (int i = 0; i < 20000; ++i) {
    uint32_t cpu = random() % 300;
    if (random() % 2 == 0) {
      set.Add(cpu);
      model.insert(cpu);
    } else {
      set.Remove(cpu);
      model.erase(cpu);
    }
    ASSERT_EQ(set.Count(), model.size());
    ASSERT_EQ(set.empty(), model.empty());
    uint32_t probe = random() % 320;
    auto above = model.upper_bound(probe);
    ASSERT_EQ(set.NextAfter(probe), above == model.end() ? CpuSet::kNone : *above);
  }
  EXPECT_EQ(set.ToVector(), std::vector<uint32_t>(model.begin(), model.end()));
  EXPECT_EQ(*CpuSet::Parse(set.ToString()), set);
}

// Sets of up to 192 CPUs lie in the object, larger ones elsewhere: copies and moves cross that line both
// ways.
TEST(CpuSet, CopiesAndMovesKeepSetsOfAllSizes) {
  const std::vector<CpuSet> sets = {{}, {5}, {191}, {192}, CpuSet::Range(0, 300), {CpuSet::kMaxCpu}};
  for (const CpuSet& from : sets) {
    for (const CpuSet& into : sets) {
      CpuSet copied = into;
      copied = from;
      EXPECT_EQ(copied, from);
      CpuSet source = from;
      CpuSet moved = into;
      moved = std::move(source);
      EXPECT_EQ(moved, from);
      source = into;  // what was moved from can be used again
      EXPECT_EQ(source, into);
      EXPECT_EQ(moved | into, into | moved);
      EXPECT_EQ((moved | into) - into, moved - into);
      EXPECT_EQ(from < into, from.ToVector() != into.ToVector() && !(into < from));
    }
    CpuSet same = from;
    CpuSet& alias = same;
    same = alias;
    EXPECT_EQ(same, from);
  }
}

TEST(CpuSet, SetAlgebraKeepsEqualityCanonical) {
  CpuSet low = CpuSet::Range(0, 3);
  CpuSet high{200};

  EXPECT_EQ((low | high) - high, low);
  EXPECT_EQ(low & high, CpuSet());
  EXPECT_TRUE((low | high).Contains(low));
  EXPECT_FALSE(low.Contains(low | high));
  EXPECT_TRUE((low | high).Intersects(high));
  EXPECT_FALSE(low.Intersects(high));
  EXPECT_EQ((low | high).CountCommon(high), high.Count());
  EXPECT_EQ(high.CountCommon(low | high), high.Count());
  EXPECT_EQ(low.CountCommon(high), 0u);
}

}  // namespace
}  // namespace berth
