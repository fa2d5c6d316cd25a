// Random small fleets and requests: the search against the set written down literally.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "tests/placement/candidates/fleet_view.h"
#include "tests/placement/candidates/random_fleets.h"

namespace berth::placement::testing {
namespace {

// BERTH_CANDIDATE_ROUNDS fleets; each is asked three times.
int Rounds() {
  const char* text = std::getenv("BERTH_CANDIDATE_ROUNDS");  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? 20'000 : std::atoi(text);
}

struct Answer {
  std::vector<NaiveCandidate> candidates;
  std::vector<int> anchors;
  std::set<int> summaries;
};

Answer Ask(const FleetView& fleet, const CandidatesRequest& request) {
  const Result<CandidatesAnswer> found = FindCandidates(fleet.view(), request);
  EXPECT_TRUE(found.has_value()) << found.status().ToString();
  Answer answer;
  if (!found) return answer;
  EXPECT_FALSE(found->gave_up);
  for (size_t i = 0; i < found->candidates.size(); ++i) {
    answer.candidates.push_back(fleet.Translate(request, *found, i));
    answer.anchors.push_back(fleet.AnchorOf(found->candidates[i]));
  }
  for (const ProviderPlace& place : found->summaries) {
    EXPECT_TRUE(answer.summaries.insert(fleet.IndexOf(place)).second) << "a provider is summed up twice";
  }
  return answer;
}

// No tree gives its next candidate before every tree has given as many as it or has none left.
void ExpectFair(const Answer& answer) {
  std::map<int, int> given;
  int round = 1;
  for (int anchor : answer.anchors) {
    const int number = ++given[anchor];
    ASSERT_GE(number, round) << "tree " << anchor << " comes late with its candidate";
    round = number;
  }
}

void CheckAll(const NaiveFleet& naive, const FleetView& fleet, const CandidatesRequest& request) {
  const std::map<NaiveCandidate, std::set<int>> expected = NaiveCandidates(naive, request);
  const Answer answer = Ask(fleet, request);

  std::set<NaiveCandidate> all;
  for (size_t i = 0; i < answer.candidates.size(); ++i) {
    const auto found = expected.find(answer.candidates[i]);
    ASSERT_TRUE(found != expected.end()) << "not a candidate:" << ToString(answer.candidates[i]);
    EXPECT_TRUE(found->second.contains(answer.anchors[i]));
    ASSERT_TRUE(all.insert(answer.candidates[i]).second) << "twice:" << ToString(answer.candidates[i]);
  }
  for (const auto& [candidate, anchors] : expected) {
    ASSERT_TRUE(all.contains(candidate)) << "missing:" << ToString(candidate);
  }
  EXPECT_EQ(answer.summaries, NaiveSummaries(naive, all, request.nested_aware));
  ExpectFair(answer);
}

void CheckLimited(const NaiveFleet& naive, const FleetView& fleet, CandidatesRequest request,
                  uint32_t limit) {
  request.limit.reset();
  const Answer all = Ask(fleet, request);
  request.limit = limit;
  const Answer some = Ask(fleet, request);

  ASSERT_EQ(some.candidates.size(), std::min<size_t>(limit, all.candidates.size()));
  // The order is the same, so that fairness and membership follow from those of the whole.
  EXPECT_TRUE(std::equal(some.candidates.begin(), some.candidates.end(), all.candidates.begin()));
  EXPECT_EQ(some.anchors,
            std::vector<int>(all.anchors.begin(),
                             all.anchors.begin() + static_cast<ptrdiff_t>(some.anchors.size())));
  const std::set<NaiveCandidate> set(some.candidates.begin(), some.candidates.end());
  EXPECT_EQ(some.summaries, NaiveSummaries(naive, set, request.nested_aware));
}

TEST(CandidatesProperty, TheSearchFindsExactlyTheLiteralSet) {
  int answered = 0;
  for (int round = 0; round < Rounds(); ++round) {
    std::mt19937 random(static_cast<uint32_t>(round));
    const NaiveFleet naive = RandomFleet(random);
    const FleetView fleet(naive);
    for (int i = 0; i < 3; ++i) {
      const CandidatesRequest request = RandomRequest(random, naive);
      SCOPED_TRACE("seed " + std::to_string(round) + '\n' + ToString(naive) + ToString(request));
      CheckAll(naive, fleet, request);
      CheckLimited(naive, fleet, request, 1 + random() % 8);
      if (::testing::Test::HasFailure()) return;
      answered += Ask(fleet, request).candidates.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(answered, Rounds() / 3) << "too few requests of this test can be met";
}

TEST(CandidatesProperty, ProviderQueriesFindExactlyTheLiteralSet) {
  for (int round = 0; round < Rounds(); ++round) {
    std::mt19937 random(static_cast<uint32_t>(round));
    const NaiveFleet naive = RandomFleet(random);
    const FleetView fleet(naive);
    const ProviderQuery query = RandomQuery(random, naive);

    const auto found = FindProviders(fleet.view(), query);

    ASSERT_TRUE(found.has_value()) << found.status().ToString();
    std::set<int> providers;
    for (const ProviderPlace& place : *found) EXPECT_TRUE(providers.insert(fleet.IndexOf(place)).second);
    ASSERT_EQ(providers, NaiveProviders(naive, query)) << "seed " << round << '\n' << ToString(naive);
  }
}

}  // namespace
}  // namespace berth::placement::testing
