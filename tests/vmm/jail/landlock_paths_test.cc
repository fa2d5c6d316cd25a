#include <gtest/gtest.h>

#include "vmm/jail/landlock.h"

namespace berth::vmm {
namespace {

TEST(LandlockPaths, OfRulesMustExist) {
  EXPECT_TRUE(MissingRulePaths({{"/", false}, {"/dev/null", true}}).empty());

  const ConfigErrors missing =
      MissingRulePaths({{"/", false}, {"/nonexistent", true}, {"/dev/nonexistent", true}});

  ASSERT_EQ(missing.size(), 2u);
  EXPECT_EQ(missing[0].option, "landlock-rules[1]");
  EXPECT_EQ(missing[0].value, "/nonexistent");
  EXPECT_EQ(missing[1].option, "landlock-rules[2]");
}

}  // namespace
}  // namespace berth::vmm
