#include "scheduler/whatif/stream.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/scheduler/whatif/random_scenario.h"

namespace berth::scheduler::whatif {
namespace {

using Json = nlohmann::json;

struct Answered {
  StreamTotals totals;
  std::string out;
};

// Feeds `in` in pieces of `piece` bytes.
Answered AnswerAll(const std::string& in, size_t piece, const StreamOptions& options) {
  size_t at = 0;
  Answered run;
  auto read = [&](char* buffer, size_t size) -> Result<size_t> {
    size_t count = std::min({piece, size, in.size() - at});
    std::memcpy(buffer, in.data() + at, count);
    at += count;
    return count;
  };
  auto write = [&](std::string_view text) {
    run.out += text;
    return OkStatus();
  };
  auto totals = AnswerStream(read, write, options);
  EXPECT_TRUE(totals.has_value()) << totals.status().ToString();
  if (totals.has_value()) run.totals = *totals;
  return run;
}

std::vector<Json> Lines(const std::string& text) {
  std::vector<Json> out;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    out.push_back(Json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

TEST(WhatifStream, AnswersStandInTheOrderOfTheScenariosWhateverThreadsAndPieces) {
  std::string in;
  for (uint64_t seed = 1; seed <= 300; ++seed) in += RandomScenario(seed) + "\n";

  Answered one = AnswerAll(in, 1 << 20, {.threads = 1});
  Answered four = AnswerAll(in, 777, {.threads = 4, .batch = 2000});

  EXPECT_EQ(one.out, four.out);
  EXPECT_EQ(four.totals.lines, 300u);
  EXPECT_EQ(four.totals.bad_lines, 0u);
  std::vector<Json> answers = Lines(four.out);
  ASSERT_EQ(answers.size(), 300u);
  for (uint64_t i = 0; i < 300; ++i) EXPECT_EQ(answers[i]["id"], "r-" + std::to_string(i + 1));
}

TEST(WhatifStream, ALineThatIsNoScenarioGetsAnErrorAndTheRestGoesOn) {
  std::string good = RandomScenario(1);
  std::string in = good + "\nnonsense\n{}\n\n[1]\n{\"flavor\":{\"vcpus\":1,\"memory_mb\":1}}\r\n" + good;

  Answered run = AnswerAll(in, 100, {.threads = 2});

  std::vector<Json> answers = Lines(run.out);
  ASSERT_EQ(answers.size(), 7u);
  EXPECT_EQ(answers[0], answers[6]);  // also without a newline at the end
  for (size_t i = 1; i < 6; ++i) {
    EXPECT_TRUE(answers[i]["id"].is_null());
    EXPECT_EQ(answers[i]["line"], i + 1);
    EXPECT_TRUE(answers[i]["request_error"].get<std::string>().starts_with("not a scenario: "));
  }
  EXPECT_EQ(run.totals.lines, 7u);
  EXPECT_EQ(run.totals.bad_lines, 5u);
}

TEST(WhatifStream, ALineAboveTheLimitIsSkippedWhole) {
  std::string good = RandomScenario(2);
  std::string in = good + "\n" + std::string(100'000, 'x') + "\n" + good + "\n";

  Answered run = AnswerAll(in, 999, {.threads = 2, .max_line = 20'000, .batch = 4096});

  std::vector<Json> answers = Lines(run.out);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[1]["line"], 2);
  EXPECT_EQ(answers[0], answers[2]);
  EXPECT_EQ(run.totals.bad_lines, 1u);
}

TEST(WhatifStream, NoInputIsNoAnswer) {
  Answered run = AnswerAll("", 10, {});

  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.totals.lines, 0u);
}

TEST(WhatifStream, ErrorsOfReadingAndWritingEndIt) {
  auto fail_read = [](char*, size_t) -> Result<size_t> { return DataLoss("read"); };
  auto drop = [](std::string_view) { return OkStatus(); };
  EXPECT_EQ(AnswerStream(fail_read, drop, {.threads = 3}).status().code(), StatusCode::kDataLoss);

  std::string in;
  for (uint64_t seed = 1; seed <= 50; ++seed) in += RandomScenario(seed) + "\n";
  size_t at = 0;
  auto read = [&](char* buffer, size_t size) -> Result<size_t> {
    size_t count = std::min({size_t{3000}, size, in.size() - at});
    std::memcpy(buffer, in.data() + at, count);
    at += count;
    return count;
  };
  auto fail_write = [](std::string_view) { return DataLoss("write"); };
  EXPECT_EQ(AnswerStream(read, fail_write, {.threads = 3, .batch = 3000}).status().message(), "write");
}

}  // namespace
}  // namespace berth::scheduler::whatif
