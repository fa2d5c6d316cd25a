#include "scheduler/whatif/json.h"

#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace berth::scheduler::whatif {
namespace {

// The document again, by another library's values.
nlohmann::json Copy(const Json& json) {
  nlohmann::json out;
  if (json.IsBool()) return json.GetBool();
  if (json.IsInt64()) return json.GetInt64();
  if (json.IsUint64()) return json.GetUint64();
  if (json.IsDouble()) return json.GetDouble();
  if (json.IsString()) return std::string(TextOf(json));
  if (json.IsArray()) {
    out = nlohmann::json::array();
    for (const Json& item : json.GetArray()) out.push_back(Copy(item));
  }
  if (json.IsObject()) {
    out = nlohmann::json::object();
    for (const auto& [name, value] : json.GetObject()) out[std::string(TextOf(name))] = Copy(value);
  }
  return out;
}

TEST(Json, ReadsEveryKindOfValue) {
  JsonParser parser;
  std::string text =
      R"( {"a": [1, -0.5e+3, true, false, null, []], "b": {"c": "x\"\\\/\b\f\n\r\tA\u00e9\uD83D\uDE00"}, "": 0} )";

  auto json = parser.Parse(text);

  ASSERT_TRUE(json.has_value()) << json.error().message();
  EXPECT_EQ(Copy(**json), nlohmann::json::parse(text));
  EXPECT_EQ(Find(*Find(**json, "b"), "nothing"), nullptr);
  EXPECT_EQ(Find(*Find(**json, "a"), "b"), nullptr);
}

TEST(Json, RefusesWhatTheStandardRefuses) {
  JsonParser parser;
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "-",
                           "nul",
                           "tru",
                           "True",
                           "\"",
                           "\"\\",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\uD800\"",
                           "\"\\uDC00\"",
                           "\"\\uD800\\u0041\"",
                           "\"\x01\"",
                           "1 2",
                           "[1] x",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf5\x80\x80\x80\"",
                           "\"\xe2\x82\"",
                           "'a'",
                           "NaN",
                           "[1;2]"}) {
    EXPECT_FALSE(parser.Parse(text).has_value()) << text;
  }
}

TEST(Json, ANulByteDoesNotEndTheDocument) {
  JsonParser parser;
  EXPECT_FALSE(parser.Parse(std::string_view("[1]\0", 4)).has_value());
  EXPECT_FALSE(parser.Parse(std::string_view("[1]\0[2]", 7)).has_value());
  EXPECT_FALSE(parser.Parse(std::string_view("[\"a\0b\"]", 7)).has_value());
}

TEST(Json, DocumentsLargerThanTheParsersMemoryAreRead) {
  JsonParser parser;
  std::string text = "[0";
  for (int i = 1; i < 200'000; ++i) text += "," + std::to_string(i);
  for (int again = 0; again < 2; ++again) {
    auto json = parser.Parse(text + "]");
    ASSERT_TRUE(json.has_value()) << json.error().message();
    ASSERT_EQ((*json)->Size(), 200'000u);
    EXPECT_EQ((**json)[199'999].GetInt(), 199'999);
  }
}

TEST(Json, NestingIsBounded) {
  JsonParser parser;
  std::string deep(JsonParser::kMaxDepth, '[');
  EXPECT_TRUE(parser.Parse(deep + std::string(JsonParser::kMaxDepth, ']')).has_value());
  EXPECT_FALSE(parser.Parse("[" + deep + std::string(JsonParser::kMaxDepth, ']') + "]").has_value());
  EXPECT_FALSE(parser.Parse(std::string(3'000'000, '[')).has_value());
}

TEST(Json, ParsingAgainForgetsTheDocumentBefore) {
  JsonParser parser;
  EXPECT_TRUE(parser.Parse("[\"\\n\",\"\\t\"]").has_value());
  auto json = parser.Parse("[\"\\u0041\",2]");
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(Copy(**json), nlohmann::json::parse(R"(["A", 2])"));
}

// Agrees with another library about mutated documents: same verdict, same value.
TEST(Json, AgreesWithAnotherParserOnMutatedText) {
  const std::string base = R"({"id":"a\u00e9","n":[1,2.5,-3e2,true,null],"o":{"k":"v","e":""}})";
  std::mt19937 random(7);
  JsonParser parser;
  uint32_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = base;
    for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
      static constexpr std::string_view kBytes = "{}[],:\"\\0159eE.+- tfnu\xc3\xa9";
      size_t at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1 + random() % 3);
      } else {
        text[at] = kBytes[random() % kBytes.size()];
      }
      if (text.empty()) text = " ";
    }
    auto mine = parser.Parse(text);
    auto other = nlohmann::json::parse(text, nullptr, false);
    ASSERT_EQ(mine.has_value(), !other.is_discarded()) << text;
    if (!mine.has_value()) continue;
    ++accepted;
    ASSERT_EQ(Copy(**mine), other) << text;
  }
  EXPECT_GT(accepted, 500u);
}

}  // namespace
}  // namespace berth::scheduler::whatif
