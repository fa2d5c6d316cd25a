#include "vmm/config/option_grammar.h"

#include <gtest/gtest.h>

#include <random>

namespace berth::vmm {
namespace {

CpuSet Cpus(std::string_view text) {
  Result<OptionValue> value = ParseValue(ValueType::kIntegerList, 0, text);
  EXPECT_TRUE(value.has_value()) << text << ": " << value.status().ToString();
  return value.has_value() ? std::get<CpuSet>(*value) : CpuSet();
}

StatusCode Refused(ValueType type, std::string_view text, uint64_t max = UINT32_MAX) {
  return ParseValue(type, max, text).status().code();
}

std::vector<KeyValue> Pairs(std::string_view text) {
  std::vector<Status> wrong;
  std::vector<KeyValue> pairs = SplitKeyValues(text, wrong);
  EXPECT_TRUE(wrong.empty()) << wrong[0].ToString();
  return pairs;
}

std::vector<std::string> Wrong(std::string_view text) {
  std::vector<Status> wrong;
  SplitKeyValues(text, wrong);
  std::vector<std::string> messages;
  for (const Status& status : wrong) messages.push_back(status.message());
  return messages;
}

TEST(OptionGrammar, CommasInsideQuotesAndBracketsDoNotSeparate) {
  const std::vector<KeyValue> pairs = Pairs(R"(a=1, b = "x,y=z" ,c=[1,2@[3,4]],d=)");

  ASSERT_EQ(pairs.size(), 4u);
  EXPECT_EQ(pairs[0].key, "a");
  EXPECT_EQ(pairs[0].value, "1");
  EXPECT_EQ(pairs[1].key, "b");
  EXPECT_EQ(Unquote(pairs[1].value), "x,y=z");
  EXPECT_EQ(pairs[2].value, "[1,2@[3,4]]");
  EXPECT_EQ(pairs[1].column, 6u);
  EXPECT_EQ(pairs[2].column, 19u);
  EXPECT_EQ(pairs[3].value, "");
}

TEST(OptionGrammar, TheFirstEqualsSignSeparatesKeyFromValue) {
  EXPECT_EQ(Pairs("path=/a=b").front().value, "/a=b");
}

TEST(OptionGrammar, NamesTheColumnOfASyntaxError) {
  using Messages = std::vector<std::string>;
  EXPECT_EQ(Wrong("a=1,b=\"x"), Messages{"syntax error: quotation mark never closed at column 7"});
  EXPECT_EQ(Wrong("a=[1,2"), Messages{"syntax error: '[' never closed at column 3"});
  EXPECT_EQ(Wrong("a=1]"), Messages{"syntax error: ']' without '[' at column 4"});
  EXPECT_EQ(Wrong("a=1,b"), Messages{"syntax error: 'b' is not of the form key=value at column 5"});
  EXPECT_EQ(Wrong("a=1,=2"), Messages{"syntax error: no key before '=' at column 5"});
  EXPECT_EQ(Wrong("a=1,,b=2"), Messages{"syntax error: empty part where key=value should be at column 5"});
}

TEST(OptionGrammar, APartThatCannotBeReadLeavesTheOthers) {
  std::vector<Status> wrong;
  const std::vector<KeyValue> pairs = SplitKeyValues("a=1,b,a=2,=3", wrong);

  EXPECT_EQ(wrong.size(), 2u);
  EXPECT_EQ(wrong[0].field(), "b");
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[1].value, "2") << "who reads the pairs refuses what stands twice";
}

TEST(OptionGrammar, ReadsTheIntegerListsOfTheMemoryDocument) {
  EXPECT_EQ(Cpus("[1-3,7]"), (CpuSet{1, 2, 3, 7}));
  EXPECT_EQ(Cpus("[0,4-6]"), (CpuSet{0, 4, 5, 6}));
  EXPECT_EQ(Cpus("0-4"), CpuSet::Range(0, 4));
  EXPECT_EQ(Cpus("5"), (CpuSet{5}));
  EXPECT_EQ(Cpus("[0-99,255]"), CpuSet::Range(0, 99) | CpuSet{255});
  EXPECT_EQ(Cpus("3-3"), (CpuSet{3})) << "a range of one is meaningful";
}

TEST(OptionGrammar, RefusesMalformedIntegerLists) {
  for (const char* text :
       {"", "[]", "[1,,2]", "[1", "1]", "1,2", "3-1", "1-2-3", "-1", "+1", "0x1", "[1]2", "a", "1-"})
    EXPECT_EQ(Refused(ValueType::kIntegerList, text), StatusCode::kInvalidArgument) << text;
  EXPECT_EQ(Refused(ValueType::kIntegerList, "0-65536"), StatusCode::kOutOfRange);
  EXPECT_EQ(Refused(ValueType::kIntegerList, "99999999999999999999999"), StatusCode::kOutOfRange);
}

TEST(OptionGrammar, ReadsTuplesWithAndWithoutBrackets) {
  auto list = ParseValue(ValueType::kTupleList, 255, "[1@15,2@25]");
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(std::get<TupleList>(*list), (TupleList{{1, 15}, {2, 25}}));
  EXPECT_EQ(std::get<TupleList>(*ParseValue(ValueType::kTupleList, 255, "0@20")), (TupleList{{0, 20}}));
  EXPECT_EQ(Refused(ValueType::kTupleList, "1@300", 255), StatusCode::kOutOfRange) << "never truncated to 44";
  EXPECT_EQ(Refused(ValueType::kTupleList, "1", 255), StatusCode::kInvalidArgument);
}

TEST(OptionGrammar, ReadsNestedAffinityLists) {
  auto list = ParseValue(ValueType::kAffinityList, 0, "[0@[2,4-5],1@3]");

  ASSERT_TRUE(list.has_value()) << list.status().ToString();
  EXPECT_EQ(std::get<AffinityList>(*list), (AffinityList{{0, {2, 4, 5}}, {1, {3}}}));
  EXPECT_EQ(std::get<AffinityList>(*ParseValue(ValueType::kAffinityList, 0, "7@[1,2]")),
            (AffinityList{{7, {1, 2}}}));
  EXPECT_EQ(Refused(ValueType::kAffinityList, "[0@[]]"), StatusCode::kInvalidArgument);
}

TEST(OptionGrammar, TogglesIgnoreCaseAndNothingElse) {
  for (const char* text : {"on", "On", "TRUE"})
    EXPECT_TRUE(std::get<bool>(*ParseValue(ValueType::kToggle, 0, text)));
  for (const char* text : {"off", "False"})
    EXPECT_FALSE(std::get<bool>(*ParseValue(ValueType::kToggle, 0, text)));
  for (const char* text : {"yes", "1", "o n"})
    EXPECT_EQ(Refused(ValueType::kToggle, text), StatusCode::kInvalidArgument) << text;
}

TEST(OptionGrammar, ByteSizesTakeOneSuffixAndNeverWrap) {
  EXPECT_EQ(std::get<uint64_t>(*ParseValue(ValueType::kBytes, 0, "1G")), 1ull << 30);
  EXPECT_EQ(std::get<uint64_t>(*ParseValue(ValueType::kBytes, 0, "2T")), 2ull << 40);
  EXPECT_EQ(Refused(ValueType::kBytes, "1KMG"), StatusCode::kInvalidArgument);
  EXPECT_EQ(Refused(ValueType::kBytes, "18446744073709551615K"), StatusCode::kOutOfRange);
}

TEST(OptionGrammar, IntegerListsAgreeWithAPlainModelUnderRandomInput) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    CpuSet model;
    std::string text = "[";
    for (uint32_t items = 1 + random() % 6; items > 0; --items) {
      uint32_t first = random() % 300;
      uint32_t last = first + random() % 5;
      for (uint32_t cpu = first; cpu <= last; ++cpu) model.Add(cpu);
      if (text.size() > 1) text += ",";
      text += first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
    }
    ASSERT_EQ(Cpus(text + "]"), model) << text;
  }
}

}  // namespace
}  // namespace berth::vmm
