#include "common/core_list.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(CoreList, CopiesShareUntilOneOfThemChanges) {
  CoreList one{CpuSet{0, 1}, CpuSet{2, 3}};
  CoreList other = one;
  ASSERT_EQ(&other[0], &one[0]);

  other.push_back(CpuSet{4});

  EXPECT_EQ(one, (CoreList{CpuSet{0, 1}, CpuSet{2, 3}}));
  EXPECT_EQ(other, (CoreList{CpuSet{0, 1}, CpuSet{2, 3}, CpuSet{4}}));
  EXPECT_NE(one, other);
}

TEST(CoreList, OneThatIsNotSharedIsChangedInPlace) {
  CoreList list{CpuSet{0}, CpuSet{1}};
  const CpuSet* before = &list[0];

  list.Own()[1] = CpuSet{7};

  EXPECT_EQ(&list[0], before);
  EXPECT_EQ(list[1], CpuSet{7});
}

TEST(CoreList, NothingIsAnEmptyList) {
  CoreList none;

  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.begin(), none.end());
  EXPECT_EQ(none, CoreList(std::vector<CpuSet>()));
  CoreList owned;
  owned.Own();
  EXPECT_EQ(none, owned);
}

}  // namespace
}  // namespace berth
