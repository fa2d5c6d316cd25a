#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"
#include "tests/scheduler/fit/naive.h"
#include "tests/scheduler/fit/scenario.h"

namespace berth::scheduler {
namespace {

std::string SharedFolder() {
  const char* given = std::getenv("BERTH_SHARED");
  return given != nullptr ? given : BERTH_SOURCE_DIR "/../shared";
}

std::vector<Scenario> ReadExamples() {
  std::vector<Scenario> out;
  std::ifstream file(SharedFolder() + "/design/whatif-examples.jsonl");
  for (std::string line; std::getline(file, line);) {
    auto scenario = ReadScenario(line);
    EXPECT_TRUE(scenario.has_value()) << scenario.status().ToString();
    if (scenario.has_value()) out.push_back(std::move(*scenario));
  }
  return out;
}

TEST(WhatifExamples, EveryAnswerEqualsTheKnownOneAndEveryPlacementIsValid) {
  std::vector<Scenario> scenarios = ReadExamples();
  if (scenarios.empty())
    GTEST_SKIP() << "no solved examples: set BERTH_SHARED to the folder that has design/";

  uint32_t hosts = 0;
  for (const Scenario& scenario : scenarios) {
    SCOPED_TRACE(scenario.id);
    ASSERT_EQ(scenario.spec.has_value(), scenario.expected_error.empty())
        << scenario.spec.status().ToString();
    if (!scenario.spec.has_value()) {
      EXPECT_TRUE(scenario.spec.error().message().starts_with(scenario.expected_error + ":"))
          << scenario.spec.error().ToString();
      continue;
    }
    for (const ScenarioHost& one : scenario.hosts) {
      SCOPED_TRACE(one.name);
      ++hosts;
      const ExpectedHost& expected = scenario.expected.at(one.name);
      EXPECT_EQ(one.refused, expected.refused);
      if (!one.refused.empty()) continue;
      FitResult result = Fit(one.host, *scenario.spec);
      ASSERT_NE(result.verdict, Verdict::kUndecided);
      EXPECT_EQ(result.verdict == Verdict::kFits, expected.pass) << result.reason.text;
      if (result.verdict == Verdict::kFits) {
        EXPECT_EQ(FindFault(one.host, *scenario.spec, result.assignment), "");
        if (expected.non_affine) {
          EXPECT_EQ(result.assignment.non_local, *expected.non_affine);
        }
      } else {
        EXPECT_FALSE(result.reason.code.empty());
        EXPECT_FALSE(result.reason.text.empty());
      }
    }
  }
  EXPECT_EQ(scenarios.size(), 360u);
  EXPECT_EQ(hosts, 394u);
}

}  // namespace
}  // namespace berth::scheduler
