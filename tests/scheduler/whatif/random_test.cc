#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/whatif/answer.h"
#include "tests/scheduler/whatif/judge_answer.h"
#include "tests/scheduler/whatif/random_scenario.h"

namespace berth::scheduler::whatif {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

// BERTH_WHATIF_CASES=1000000 for the long run, BERTH_WHATIF_SEED for other scenarios.
TEST(WhatifRandom, AnswersEqualBruteForceAndPlacementsAreValid) {
  uint64_t cases = FromEnvironment("BERTH_WHATIF_CASES", 3000);
  uint64_t first = FromEnvironment("BERTH_WHATIF_SEED", 1);
  unsigned threads = cases > 100'000 ? std::thread::hardware_concurrency() : 1;
  std::atomic<uint64_t> next = 0;
  std::atomic<uint64_t> faults = 0;
  std::mutex mutex;
  Tally total;
  auto work = [&] {
    Answerer answerer;
    Tally tally;
    for (uint64_t i = next++; i < cases && faults < 5; i = next++) {
      std::string line = RandomScenario(first + i);
      std::string answer;
      std::string fault = "no scenario";
      if (answerer.Answer(line, 1, answer)) fault = JudgeAnswer(line, answer, true, tally);
      if (fault.empty()) continue;
      ++faults;
      std::lock_guard lock(mutex);
      ADD_FAILURE() << "seed " << first + i << ": " << fault << "\n" << line << "\n" << answer;
    }
    std::lock_guard lock(mutex);
    EXPECT_EQ(answerer.undecided(), 0u);
    total.hosts += tally.hosts;
    total.fitting += tally.fitting;
    total.errors += tally.errors;
  };
  std::vector<std::thread> helpers;
  for (unsigned t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  RecordProperty("hosts", static_cast<int>(total.hosts));
  std::printf("%lu scenarios, %lu hosts decided, %lu fit, %lu requests rejected\n",
              static_cast<unsigned long>(cases), static_cast<unsigned long>(total.hosts),
              static_cast<unsigned long>(total.fitting), static_cast<unsigned long>(total.errors));
  EXPECT_GT(total.fitting, total.hosts / 10);  // both answers are exercised
  EXPECT_LT(total.fitting, total.hosts * 9 / 10);
  EXPECT_LT(total.errors, cases / 4);
}

}  // namespace
}  // namespace berth::scheduler::whatif
