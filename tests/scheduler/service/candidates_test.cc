#include "scheduler/service/candidates.h"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/service/decide.h"
#include "tests/scheduler/fit/random_host.h"

namespace berth::scheduler {
namespace {

// A view with only what decisions look at.
HostViewPtr MakeView(uint32_t seed, size_t slot) {
  RandomCase random(seed);
  placement::HostReport report;
  report.name = "h" + std::to_string(slot);
  report.uuid = Uuid::FromName(Uuid{}, report.name);
  auto view = std::make_shared<HostView>();
  view->report = std::make_shared<const placement::HostReport>(std::move(report));
  view->fit = random.Host();
  view->state = FitStates::OfProcess().Of(view->fit);
  return view;
}

std::vector<RequestSpec> MakeRequests(uint32_t count) {
  std::vector<RequestSpec> out;
  for (uint32_t seed = 1; seed <= count; ++seed) {
    RandomCase random(seed * 7919);
    out.push_back(random.Request());
  }
  return out;
}

TEST(Candidates, ChooseTheSameHostAsLookingAtTheWholeFleetWhateverChanged) {
  std::mt19937 random(3);
  std::vector<RequestSpec> requests = MakeRequests(12);
  CandidateCache cache(8);  // fewer than classes: some are forgotten and built again
  auto fleet = std::make_shared<const Fleet>();
  for (size_t slot = 0; slot < 300; ++slot)
    fleet = fleet->With(slot, MakeView(static_cast<uint32_t>(slot), slot));

  uint32_t chosen = 0;
  for (uint32_t step = 0; step < 120; ++step) {
    SCOPED_TRACE(step);
    for (uint32_t changes = random() % 5; changes > 0; --changes) {
      size_t slot = random() % 330;
      bool gone = random() % 6 == 0;
      fleet = fleet->With(slot, gone ? nullptr : MakeView(static_cast<uint32_t>(random() % 5000), slot));
    }
    const RequestSpec& request = requests[random() % requests.size()];

    Decision fast = DecideByClass(cache, fleet, request);

    Decision slow = Decide(*fleet, request, "", false);
    ASSERT_EQ(fast.choice.has_value(), slow.choice.has_value());
    ASSERT_EQ(fast.undecided, slow.undecided);
    if (!fast.choice) continue;
    ++chosen;
    ASSERT_EQ(fast.choice->host_name, slow.choice->host_name);
    ASSERT_EQ(fast.choice->assignment, slow.choice->assignment);
  }
  EXPECT_GT(chosen, 30u);
  EXPECT_EQ(cache.totals().classes, 8u);
}

TEST(Candidates, GiveTheSameHostInWhateverOrderTheHostsStand) {
  std::mt19937 random(5);
  for (const RequestSpec& request : MakeRequests(20)) {
    std::vector<HostViewPtr> views;
    // Few seeds: many hosts are equally good, and names decide.
    for (size_t i = 0; i < 60; ++i) views.push_back(MakeView(static_cast<uint32_t>(i % 7), i));
    std::optional<std::string> first;
    for (int order = 0; order < 4; ++order) {
      auto fleet = std::make_shared<const Fleet>();
      for (size_t slot = 0; slot < views.size(); ++slot) fleet = fleet->With(slot, views[slot]);
      Candidates candidates(request);

      HostViewPtr best = candidates.Best(*fleet);

      std::string name = best == nullptr ? "" : best->report->name;
      EXPECT_EQ(first.value_or(name), name);
      first = name;
      std::shuffle(views.begin(), views.end(), random);
    }
  }
}

TEST(Candidates, CatchUpWhereTheJournalDoesNotReach) {
  RequestSpec request = MakeRequests(1)[0];
  auto fleet = std::make_shared<const Fleet>();
  for (size_t slot = 0; slot < 40; ++slot)
    fleet = fleet->With(slot, MakeView(static_cast<uint32_t>(slot), slot));
  Candidates candidates(request);
  candidates.Best(*fleet);

  std::mt19937 random(11);
  auto other = fleet->With(3, MakeView(900, 3));
  for (uint64_t i = 0; i < ChangeJournal::kSize + 10; ++i) {
    size_t slot = random() % 40;
    fleet = fleet->With(
        slot, i % 50 == 0 ? MakeView(static_cast<uint32_t>(random() % 500), slot) : fleet->At(slot));
  }
  for (const auto& picture : {fleet, other, fleet}) {
    HostViewPtr best = candidates.Best(*picture);

    Decision slow = Decide(*picture, request, "", false);
    EXPECT_EQ(best == nullptr ? "" : best->report->name, slow.choice ? slow.choice->host_name : "");
  }
}

TEST(Candidates, HostsThatTakeOverASlotAreTakenByTheirOwnName) {
  RequestSpec request;
  request.vcpus = 0;
  auto named = [](const std::string& name) {
    placement::HostReport report;
    report.name = name;
    auto view = std::make_shared<HostView>();
    view->report = std::make_shared<const placement::HostReport>(std::move(report));
    Prepare(view->fit);
    view->state = FitStates::OfProcess().Of(view->fit);
    return view;
  };
  const std::string same(40, 'h');  // longer than what pictures keep beside the hosts
  auto fleet = std::make_shared<const Fleet>();
  fleet = fleet->With(0, named(same + "1"))->With(1, named(same + "2"));
  Candidates candidates(request);
  ASSERT_EQ(candidates.Best(*fleet)->report->name, same + "1");

  fleet = fleet->With(0, named(same + "3"));

  EXPECT_EQ(candidates.Best(*fleet)->report->name, same + "2");
}

TEST(Candidates, LookOnlyAtHostsThatChanged) {
  auto fleet = std::make_shared<const Fleet>();
  for (size_t slot = 0; slot < 500; ++slot)
    fleet = fleet->With(slot, MakeView(static_cast<uint32_t>(slot), slot));
  Candidates candidates(MakeRequests(1)[0]);
  candidates.Best(*fleet);
  EXPECT_EQ(candidates.evaluated(), 500u);

  candidates.Best(*fleet);
  EXPECT_EQ(candidates.evaluated(), 500u);
  fleet = fleet->With(7, MakeView(1, 7))->With(400, MakeView(2, 400));
  candidates.Best(*fleet);
  EXPECT_EQ(candidates.evaluated(), 502u);
}

TEST(Candidates, ClassesThatNobodyAsksForAreForgotten) {
  CandidateCache cache(100, 5);
  auto fleet = std::make_shared<const Fleet>();
  std::vector<RequestSpec> requests = MakeRequests(3);
  cache.Best(fleet, requests[0]);
  for (int i = 0; i < 6; ++i) cache.Best(fleet, requests[1]);

  EXPECT_EQ(cache.totals().classes, 1u);
  EXPECT_EQ(cache.totals().misses, 2u);
}

TEST(Candidates, NamesOfPortsDoNotMakeAClass) {
  RequestSpec a;
  a.vcpus = 1;
  a.pci.push_back({.name = "port-1", .from_port = true, .alternatives = {DeviceMatch{}}});
  RequestSpec b = a;
  b.pci[0].name = "port-2";

  EXPECT_EQ(ClassOf(a), ClassOf(b));
  EXPECT_EQ(HashOf(ClassOf(a)), HashOf(ClassOf(b)));
  CandidateCache cache;
  auto fleet = std::make_shared<const Fleet>();
  cache.Best(fleet, a);
  cache.Best(fleet, b);
  EXPECT_EQ(cache.totals().classes, 1u);
  EXPECT_EQ(cache.totals().hits, 1u);
}

}  // namespace
}  // namespace berth::scheduler
