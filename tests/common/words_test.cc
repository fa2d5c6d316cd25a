#include "common/words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace berth {
namespace {

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (const auto line = NextLine(text)) lines.emplace_back(*line);
  return lines;
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  while (const auto word = NextWord(text)) words.emplace_back(*word);
  return words;
}

using List = std::vector<std::string>;

TEST(Words, LinesEndAtTheirEndsAndTheLastNeedsNone) {
  EXPECT_EQ(Lines(""), List());
  EXPECT_EQ(Lines("a"), List{"a"});
  EXPECT_EQ(Lines("a\n"), List{"a"});
  EXPECT_EQ(Lines("\na b\n\nc"), (List{"", "a b", "", "c"}));
}

TEST(Words, WordsLieBetweenWhiteSpace) {
  EXPECT_EQ(Words(""), List());
  EXPECT_EQ(Words(" \t\n"), List());
  EXPECT_EQ(Words("one"), List{"one"});
  EXPECT_EQ(Words("  one\ttwo \r\n three "), (List{"one", "two", "three"}));
}

}  // namespace
}  // namespace berth
