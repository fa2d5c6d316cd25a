#include "scheduler/service/tournament.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

HostViewPtr Named(const std::string& name) {
  placement::HostReport report;
  report.name = name;
  auto view = std::make_shared<HostView>();
  view->report = std::make_shared<const placement::HostReport>(std::move(report));
  return view;
}

uint32_t Slowly(const Fleet& fleet, const std::vector<Score>& scores, const std::vector<size_t>& excluded) {
  uint32_t best = Tournament::kNobody;
  for (uint32_t slot = 0; slot < scores.size(); ++slot) {
    bool out = std::binary_search(excluded.begin(), excluded.end(), size_t{slot});
    if (out || scores[slot] >= kUndecidedScore) continue;
    bool better =
        best == Tournament::kNobody || scores[slot] < scores[best] ||
        (scores[slot] == scores[best] && fleet.Peek(slot)->report->name < fleet.Peek(best)->report->name);
    if (better) best = slot;
  }
  return best;
}

// Few different scores, several changes of one page at a time, hosts that change their names: where a winner
// that got worse was once found again by the change of another slot, the levels above kept the old one.
TEST(Tournament, NamesTheBestWhateverChangedTogether) {
  std::mt19937 random(7);
  auto fleet = std::make_shared<const Fleet>();
  constexpr uint32_t kSlots = 700;
  for (uint32_t slot = 0; slot < kSlots; ++slot)
    fleet = fleet->With(slot, Named("h" + std::to_string(slot * 7919 % 10007)));
  std::vector<Score> scores(kSlots, 5);
  Tournament tournament;
  tournament.Resize(kSlots);
  for (uint32_t slot = 0; slot < kSlots; ++slot) tournament.SetScore(slot, 5);
  tournament.Rebuild(*fleet);

  for (int round = 0; round < 20000; ++round) {
    std::vector<Tournament::Change> changes;
    const uint32_t near = random() % kSlots;
    for (uint32_t i = random() % 6; i > 0; --i) {
      const uint32_t slot = random() % 2 == 0 ? random() % kSlots : std::min(near + i, kSlots - 1);
      const bool renamed = random() % 8 == 0;
      if (renamed) fleet = fleet->With(slot, Named("h" + std::to_string(random())));
      const Score score = random() % 9 == 0 ? kNoScore - random() % 2 : random() % 12;
      if (score == scores[slot] && !renamed) continue;
      scores[slot] = score;
      tournament.SetScore(slot, score);
      changes.push_back({slot, renamed});
    }
    tournament.Replay(*fleet, changes);

    std::vector<size_t> excluded;
    ASSERT_EQ(tournament.Best(), Slowly(*fleet, scores, excluded)) << round;
    for (size_t slot = random() % 40; slot < kSlots; slot += 1 + random() % 40) excluded.push_back(slot);
    excluded.push_back(kSlots);
    ASSERT_EQ(tournament.BestExcept(*fleet, excluded), Slowly(*fleet, scores, excluded)) << round;
  }
}

TEST(Tournament, HasNoBestWhereNothingTakesPart) {
  auto fleet = std::make_shared<const Fleet>();
  Tournament tournament;
  tournament.Rebuild(*fleet);
  EXPECT_EQ(tournament.Best(), Tournament::kNobody);

  fleet = fleet->With(0, Named("h"));
  tournament.Resize(1);
  tournament.SetScore(0, kUndecidedScore);
  tournament.Rebuild(*fleet);

  EXPECT_EQ(tournament.Best(), Tournament::kNobody);
  EXPECT_EQ(tournament.BestExcept(*fleet, {}), Tournament::kNobody);
}

}  // namespace
}  // namespace berth::scheduler
