#include "common/yaml.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(Yaml, KeepsOrderLinesAndQuoting) {
  Result<YamlNode> root = ParseYaml("b: 1\na: \"null\"\nc: ~\nd: [x, {y: z}]\n", "t.yaml");

  ASSERT_TRUE(root.has_value()) << root.error().ToString();
  EXPECT_EQ(root->entries[0].first, "b");
  EXPECT_EQ(root->Find("a")->scalar, "null");
  EXPECT_TRUE(root->Find("c")->is_null());
  EXPECT_EQ(root->Find("d")->items[1].Find("y")->scalar, "z");
  EXPECT_EQ(root->Find("d")->line, 4);
}

TEST(Yaml, RefusesBrokenTextWithItsPlace) {
  EXPECT_NE(ParseYaml("a: [1, 2\nb: 3", "t.yaml").status().message().find("t.yaml:"), std::string::npos);
  EXPECT_NE(ParseYaml("a: 1\na: 2", "t.yaml").status().message().find("t.yaml:2:1: duplicate key \"a\""),
            std::string::npos);
}

TEST(Yaml, RefusesAliasesDeepNestingAndSecondDocuments) {
  EXPECT_FALSE(ParseYaml("a: &x [1]\nb: *x", "t").has_value());
  EXPECT_FALSE(ParseYaml(std::string(100, '[') + std::string(100, ']'), "t").has_value());
  EXPECT_FALSE(ParseYaml("a: 1\n---\nb: 2", "t").has_value());
}

TEST(Yaml, UnknownKeyNamesTheNearest) {
  Result<YamlNode> root = ParseYaml("vendor_idd: x", "t");
  Status status = CheckYamlKeys(*root, "alias[0]", {"vendor_id", "product_id"});

  EXPECT_EQ(status.field(), "alias[0].vendor_idd");
  EXPECT_EQ(status.hint(), "did you mean \"vendor_id\"?");
}

TEST(Yaml, TypedReadersNameFieldValueAndRange) {
  Result<YamlNode> root = ParseYaml("n: 300\nb: maybe", "t");

  EXPECT_EQ(YamlInt(*root->Find("n"), "n", 0, 255).status().ToString(),
            "INVALID_ARGUMENT: n: expected a whole number from 0 to 255, got \"300\" (line 1)");
  EXPECT_EQ(YamlBool(*root->Find("b"), "b").status().field(), "b");
  EXPECT_EQ(*YamlInt(*root->Find("n"), "n", 0, 1000), 300);
}

}  // namespace
}  // namespace berth
