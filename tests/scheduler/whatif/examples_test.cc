#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "scheduler/whatif/answer.h"
#include "tests/scheduler/whatif/judge_answer.h"

namespace berth::scheduler::whatif {
namespace {

using Json = nlohmann::json;

std::string SharedFolder() {
  const char* given = std::getenv("BERTH_SHARED");
  return given != nullptr ? given : BERTH_SOURCE_DIR "/../shared";
}

TEST(WhatifExamples, EveryAnswerEqualsTheKnownOneAndEveryPlacementIsValid) {
  std::ifstream file(SharedFolder() + "/design/whatif-examples.jsonl");
  if (!file) GTEST_SKIP() << "no solved examples: set BERTH_SHARED to the folder that has design/";

  Answerer answerer;
  uint64_t scenarios = 0;
  Tally tally;
  for (std::string line; std::getline(file, line);) {
    Json known = Json::parse(line);
    SCOPED_TRACE(known["id"].get<std::string>());
    std::string answer;
    ASSERT_TRUE(answerer.Answer(line, ++scenarios, answer));
    Json json = Json::parse(answer);

    EXPECT_EQ(json["id"], known["id"]);
    const Json& expected = known["expect"];
    if (expected.contains("request_error")) {
      EXPECT_TRUE(json.value("request_error", "").starts_with(expected["request_error"].get<std::string>()))
          << answer;
      continue;
    }
    for (const auto& [name, host] : expected["hosts"].items()) {
      EXPECT_EQ(json["hosts"][name].value("refused", ""), host.value("refused", ""));
      EXPECT_EQ(json["hosts"][name]["pass"], host["pass"]) << name << answer;
      if (host.contains("non_affine") && json["hosts"][name]["pass"] == true) {
        EXPECT_EQ(json["hosts"][name]["non_affine"], host["non_affine"]) << name;
      }
    }
    EXPECT_EQ(JudgeAnswer(line, answer, false, tally), "");
  }
  EXPECT_EQ(scenarios, 360u);
  EXPECT_EQ(tally.hosts, 394u);
  EXPECT_EQ(answerer.undecided(), 0u);
}

}  // namespace
}  // namespace berth::scheduler::whatif
