#include "cli/output.h"

#include <gtest/gtest.h>

#include "cli/table.h"
#include "cli/text.h"
#include "cli/tree.h"
#include "common/yaml.h"

namespace berth::cli {
namespace {

// What YAML readers make of it, as JSON with all scalars as text.
Json Plain(const YamlNode& node) {
  if (node.is_null()) return nullptr;
  if (node.is_scalar()) return node.scalar;
  Json value = node.is_map() ? Json::object() : Json::array();
  for (const YamlNode::Entry& entry : node.entries) value[entry.first] = Plain(entry.second);
  for (const YamlNode& item : node.items) value.push_back(Plain(item));
  return value;
}

TEST(YamlText, IsReadBackAsItWas) {
  Json value = {{"words", "plain words"},
                {"number-like", "12"},
                {"address", "0000:41:00.0"},
                {"yes", "no"},
                {"odd", "a: b # c, [d] \"e\" \n f"},
                {"empty", ""},
                {"lists", {{"of-numbers", {"a", "b"}}, {"nested", Json::array({Json::array({"x", "y"})})}}},
                {"maps", Json::array({Json{{"k", "v"}, {"l", Json::array({"m"})}}, Json{{"k", "w"}}})}};

  Result<YamlNode> read = ParseYaml(ToYamlText(value), "text");

  ASSERT_TRUE(read.has_value()) << read.status().ToString() << "\n" << ToYamlText(value);
  EXPECT_EQ(Plain(*read), value) << ToYamlText(value);
}

TEST(YamlText, KeepsTypesApart) {
  Json value = {{"number", 12},       {"text", "12"},   {"truth", true},        {"word", "true"},
                {"nothing", nullptr}, {"list", {1, 2}}, {"none", Json::array()}};

  EXPECT_EQ(ToYamlText(value),
            "number: 12\ntext: \"12\"\ntruth: true\nword: \"true\"\nnothing: null\nlist: [1, 2]\nnone: []\n");
}

TEST(JsonText, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(ToJsonText(Json("a\xff")), "\"a\xef\xbf\xbd\"\n");
  EXPECT_EQ(ToYamlText(Json("a\xff")), "\"a\\ufffd\"\n");
}

TEST(Table, AlignsByDisplayWidth) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}});
  table.AddRow({"né", "1"});
  table.AddRow({"", "200"});

  EXPECT_EQ(table.ToString(), "NAME  SIZE\nné       1\n-      200\n");
}

TEST(Tree, DrawsBranchesAndWrapsLongCells) {
  TreeItem root({"root"});
  TreeItem& first = root.Add(TreeItem({"a", "1,2,3,4,5,6,7,8,9,10,11,12,13,14"}));
  first.Add(TreeItem({"below"}));
  root.Add(TreeItem({"long", "x"}));

  EXPECT_EQ(DrawTree(root, 36, false),
            "root\n"
            "├─ a     1,2,3,4,5,6,7,8,9,10,11,12,\n"
            "│  │     13,14\n"
            "│  └─ below\n"
            "└─ long  x\n");
}

TEST(Tree, BarsNeverHideALittleUseOrALittleSpace) {
  EXPECT_EQ(Bar(0, 100, 4), "░░░░");
  EXPECT_EQ(Bar(1, 1000, 4), "█░░░");
  EXPECT_EQ(Bar(999, 1000, 4), "███░");
  EXPECT_EQ(Bar(1000, 1000, 4), "████");
  EXPECT_EQ(Bar(0, 0, 4), "░░░░");
}

TEST(Text, ShortensLongListsOfCores) {
  std::vector<CpuSet> cores;
  for (uint32_t i = 0; i < 16; ++i) cores.push_back({i, i + 16});
  EXPECT_EQ(CoresText(cores), "0+16 1+17 2+18 3+19 4+20 5+21 … 14+30 15+31");
  EXPECT_EQ(CoresText({{0}, {1}, {2}}), "0-2");
}

TEST(Text, BytesAreExactWhereThatIsShort) {
  EXPECT_EQ(BytesText(uint64_t{64} << 30), "64 GiB");
  EXPECT_EQ(BytesText(0), "0");
  EXPECT_EQ(BytesText((uint64_t{64} << 30) - 4096), "64.0 GiB");
}

}  // namespace
}  // namespace berth::cli
