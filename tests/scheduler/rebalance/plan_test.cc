#include "scheduler/rebalance/plan.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

#include "scheduler/explain/claim_request.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"
#include "scheduler/rebalance/check_plan.h"
#include "tests/scheduler/explain/small_fleet.h"

namespace berth::scheduler {
namespace {

const Properties kPinned = {{"hw:cpu_policy", "dedicated"}};

const RequestSpec* NoFlavor(const std::string&) {
  return nullptr;
}

PlanOptions AtMost(uint32_t moves) {
  PlanOptions options;
  options.max_moves = moves;
  return options;
}

TEST(PlanRoom, NeedsNoMoveWhereTheRequestFits) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);

  RebalancePlan plan = PlanRoom(fleet.Known(), Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(3));

  EXPECT_EQ(plan.verdict, PlanVerdict::kDone);
  EXPECT_TRUE(plan.moves.empty());
  EXPECT_TRUE(plan.fewest);
  EXPECT_EQ(plan.opened_host, "a");
}

TEST(PlanRoom, MovesTheOneInstanceThatIsInTheWay) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(2, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Place("b", "two", MakeWish(6, 1024, kPinned));
  KnownHosts hosts = fleet.Known();

  RebalancePlan plan = PlanRoom(hosts, Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(3));

  ASSERT_EQ(plan.verdict, PlanVerdict::kDone);
  ASSERT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.moves[0].instance, "one");
  EXPECT_EQ(plan.moves[0].from, "a");
  EXPECT_EQ(plan.moves[0].to, "b");
  EXPECT_EQ(plan.cost, (MoveCost{uint64_t{1024} << 20, 0}));
  EXPECT_TRUE(plan.fewest);
  EXPECT_TRUE(CheckRoomPlan(hosts, plan, AtMost(3)).ok());
}

TEST(PlanRoom, OpensTheHostThatNeedsTheFewestMoves) {
  // "wide" could leave a only once "small" has gone to c; "small" alone opens b.
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "wide", MakeWish(6, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Place("b", "small", MakeWish(3, 1024, kPinned));
  fleet.AddHost("c", 1, 4, 65536);
  KnownHosts hosts = fleet.Known();

  RebalancePlan no = PlanRoom(hosts, Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(0));
  RebalancePlan plan = PlanRoom(hosts, Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(2));

  EXPECT_EQ(no.verdict, PlanVerdict::kNo);
  ASSERT_EQ(plan.verdict, PlanVerdict::kDone);
  EXPECT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.opened_host, "b");
  EXPECT_TRUE(CheckRoomPlan(hosts, plan, AtMost(2)).ok());
}

TEST(PlanRoom, ProvesThatNoPlanExists) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(5, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Place("b", "two", MakeWish(5, 1024, kPinned));

  RebalancePlan plan = PlanRoom(fleet.Known(), Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(3));

  EXPECT_EQ(plan.verdict, PlanVerdict::kNo);
}

TEST(PlanRoom, SaysWhenTheBudgetRanOut) {
  SmallFleet fleet;
  for (const char* name : {"a", "b", "c"}) {
    fleet.AddHost(name, 1, 8, 65536);
    for (int i = 0; i < 3; ++i) fleet.Place(name, name + std::to_string(i), MakeWish(2, 1024, kPinned));
  }
  PlanOptions options = AtMost(4);
  options.budget = 5;

  RebalancePlan plan = PlanRoom(fleet.Known(), Resolve(MakeWish(9, 1024, kPinned)), NoFlavor, options);

  EXPECT_EQ(plan.verdict, PlanVerdict::kUndecided);
}

TEST(PlanDrain, EmptiesAHostAndKeepsDevicesWithTheirInstances) {
  AliasTable aliases = MakeAliases("required");
  SmallFleet fleet;
  fleet.AddHost("a", 2, 8, 65536);
  fleet.AddDevices(1, "2330", 0);
  Properties gpu = kPinned;
  gpu["pci_passthrough:alias"] = "gpu:1";
  fleet.Place("a", "with-gpu", MakeWish(4, 1024, gpu), aliases);
  fleet.Place("a", "plain", MakeWish(4, 1024, kPinned));
  fleet.AddHost("b", 2, 8, 65536);
  fleet.AddDevices(2, "2330", 1);
  KnownHosts hosts = fleet.Known();

  RebalancePlan plan = PlanDrain(hosts, 0, NoFlavor, AtMost(2));
  RebalancePlan too_few = PlanDrain(hosts, 0, NoFlavor, AtMost(1));

  ASSERT_EQ(plan.verdict, PlanVerdict::kDone);
  EXPECT_EQ(plan.moves.size(), 2u);
  EXPECT_TRUE(plan.fewest);
  EXPECT_EQ(plan.cost.devices, 1u);
  EXPECT_TRUE(CheckDrainPlan(hosts, 0, plan, AtMost(2)).ok());
  EXPECT_EQ(too_few.verdict, PlanVerdict::kNo);
}

// The usual order: an operator takes the host out, and then asks where its instances could go.
TEST(PlanDrain, HostsThatWereTakenOutGiveAndDoNotTake) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(2, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.AddHost("c", 1, 8, 65536);
  fleet.TakeOut("a");
  fleet.TakeOut("b");

  RebalancePlan plan = PlanDrain(fleet.Known(), 0, NoFlavor, AtMost(2));
  fleet.TakeOut("c");
  RebalancePlan nowhere = PlanDrain(fleet.Known(), 0, NoFlavor, AtMost(2));
  RebalancePlan room = PlanRoom(fleet.Known(), Resolve(MakeWish(2, 1024, kPinned)), NoFlavor, AtMost(2));

  ASSERT_EQ(plan.verdict, PlanVerdict::kDone);
  ASSERT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.moves[0].to, "c");
  EXPECT_EQ(nowhere.verdict, PlanVerdict::kNo);
  EXPECT_EQ(room.verdict, PlanVerdict::kNo);
}

// Two members of a hard group, and a host for each that has room.
TEST(PlanDrain, MembersOfAnAntiAffinityGroupGoToDifferentHosts) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(2, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Place("b", "two", MakeWish(4, 1024, kPinned));
  fleet.AddHost("c", 1, 8, 65536);
  fleet.Join("one", {"g", placement::ServerGroupPolicy::kAntiAffinity, 1});
  fleet.Join("two", {"g", placement::ServerGroupPolicy::kAntiAffinity, 1});

  RebalancePlan plan = PlanDrain(fleet.Known(), 0, NoFlavor, AtMost(2));

  ASSERT_EQ(plan.verdict, PlanVerdict::kDone);
  ASSERT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.moves[0].to, "c");  // b is fuller, and has a member
}

TEST(PlanDrain, MembersOfAnAffinityGroupStayTogether) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(2, 1024, kPinned));
  fleet.Place("a", "two", MakeWish(2, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Join("one", {"g", placement::ServerGroupPolicy::kAffinity, 1});
  RebalancePlan alone = PlanDrain(fleet.Known(), 0, NoFlavor, AtMost(2));
  fleet.Join("two", {"g", placement::ServerGroupPolicy::kAffinity, 1});
  RebalancePlan both = PlanDrain(fleet.Known(), 0, NoFlavor, AtMost(2));

  EXPECT_EQ(alone.verdict, PlanVerdict::kDone);
  EXPECT_EQ(both.verdict, PlanVerdict::kNo);  // one after another would part them
}

TEST(CheckPlan, RefusesAPlanThatGivesACpuTwice) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 8, 65536);
  fleet.Place("a", "one", MakeWish(2, 1024, kPinned));
  fleet.AddHost("b", 1, 8, 65536);
  fleet.Place("b", "two", MakeWish(6, 1024, kPinned));
  KnownHosts hosts = fleet.Known();
  RebalancePlan plan = PlanRoom(hosts, Resolve(MakeWish(8, 1024, kPinned)), NoFlavor, AtMost(3));
  ASSERT_EQ(plan.moves.size(), 1u);

  plan.moves[0].claim.cells[0].pinning[0].second = fleet.claim("two").cells[0].pinning[0].second;

  EXPECT_FALSE(CheckRoomPlan(hosts, plan, AtMost(3)).ok());
}

// Everything that at most so many moves can do, without any of the planner's files.
class BruteForce {
 public:
  struct Host {
    const placement::HostReport* report;
    KnownHost::Claims claims;
    placement::HostUsage usage;
  };
  using Goal = std::function<bool(const std::vector<Host>&)>;

  BruteForce(const KnownHosts& hosts, size_t barred, Goal goal) : barred_(barred), goal_(std::move(goal)) {
    for (const KnownHost& host : hosts) {
      hosts_.push_back({host.report, *host.claims, *host.usage});
      for (const auto& [consumer, claim] : *host.claims)
        specs_.emplace(consumer, RequestOfClaim(*claim, *host.report, nullptr));
    }
  }

  // The fewest moves; nothing: none of at most `most`.
  std::optional<uint32_t> Fewest(uint32_t most) {
    for (uint32_t moves = 0; moves <= most; ++moves) {
      if (Reaches(moves)) return moves;
    }
    return std::nullopt;
  }

 private:
  bool Reaches(uint32_t moves) {
    if (moves == 0) return goal_(hosts_);
    for (size_t from = 0; from < hosts_.size(); ++from) {
      KnownHost::Claims claims = hosts_[from].claims;
      for (const auto& [consumer, claim] : claims) {
        for (size_t to = 0; to < hosts_.size(); ++to) {
          if (to == from || to == barred_) continue;
          FitResult fit = Fit(FromHost(*hosts_[to].report, hosts_[to].usage), specs_.at(consumer));
          if (fit.verdict != Verdict::kFits) continue;
          Host from_before = hosts_[from];
          Host to_before = hosts_[to];
          placement::Claim moved = *claim;
          moved.host = hosts_[to].report->uuid;
          BindAssignment(specs_.at(consumer), fit.assignment, moved);
          placement::RemoveClaim(*claim, hosts_[from].usage);
          hosts_[from].claims.erase(consumer);
          placement::AddClaim(moved, hosts_[to].usage);
          hosts_[to].claims[consumer] = std::make_shared<const placement::Claim>(moved);
          bool reached = Reaches(moves - 1);
          hosts_[from] = std::move(from_before);
          hosts_[to] = std::move(to_before);
          if (reached) return true;
        }
      }
    }
    return false;
  }

  const size_t barred_;
  const Goal goal_;
  std::vector<Host> hosts_;
  std::map<Uuid, RequestSpec> specs_;
};

// A few small hosts with random instances on them.
class RandomFleet {
 public:
  explicit RandomFleet(uint32_t seed) : random_(seed) {
    uint32_t hosts = 2 + Below(3);
    for (uint32_t host = 0; host < hosts; ++host) {
      fleet_.AddHost("h" + std::to_string(host), 1 + Below(2), 4 + 2 * Below(2), 16384);
      if (Below(2) == 0) fleet_.AddDevices(1 + Below(2), "2330", 0);
      for (uint32_t i = Below(4); i > 0; --i)
        fleet_.TryPlaceOnLast("vm" + std::to_string(number_++), Request());
    }
  }

  RequestSpec Request() {
    Properties specs = Below(4) == 0 ? Properties{} : kPinned;
    if (!specs.empty() && Below(3) == 0) specs["pci_passthrough:alias"] = "gpu:1";
    if (!specs.empty() && Below(4) == 0) specs["hw:numa_nodes"] = "2";
    uint32_t vcpus = 2 * (1 + Below(3));
    return Resolve(MakeWish(vcpus, 1024 * (1 + Below(4)), specs),
                   MakeAliases(Below(2) == 0 ? "required" : "preferred"));
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  KnownHosts Known() { return fleet_.Known(); }

 private:
  std::mt19937 random_;
  SmallFleet fleet_;
  uint32_t number_ = 0;
};

TEST(PlanProperty, RoomIsOpenedWithAsFewMovesAsBruteForceFinds) {
  int opened = 0;
  for (uint32_t seed = 0; seed < 250; ++seed) {
    RandomFleet fleet(seed);
    RequestSpec wish = fleet.Request();
    KnownHosts hosts = fleet.Known();
    auto goal = [&](const std::vector<BruteForce::Host>& now) {
      return std::any_of(now.begin(), now.end(), [&](const BruteForce::Host& host) {
        return Fit(FromHost(*host.report, host.usage), wish).verdict == Verdict::kFits;
      });
    };
    auto fewest = BruteForce(hosts, SIZE_MAX, goal).Fewest(2);

    RebalancePlan plan = PlanRoom(hosts, wish, NoFlavor, AtMost(2));

    ASSERT_NE(plan.verdict, PlanVerdict::kUndecided) << seed;
    ASSERT_EQ(plan.verdict == PlanVerdict::kDone, fewest.has_value()) << seed;
    if (!fewest) continue;
    EXPECT_EQ(plan.moves.size(), *fewest) << seed;
    EXPECT_TRUE(plan.fewest) << seed;
    Status check = CheckRoomPlan(hosts, plan, AtMost(2));
    EXPECT_TRUE(check.ok()) << seed << " " << check.ToString();
    opened += *fewest > 0 ? 1 : 0;
  }
  EXPECT_GT(opened, 10);
}

TEST(PlanProperty, AHostIsDrainedWheneverBruteForceCan) {
  int drained = 0;
  for (uint32_t seed = 0; seed < 250; ++seed) {
    RandomFleet fleet(1000 + seed);
    KnownHosts hosts = fleet.Known();
    auto goal = [&](const std::vector<BruteForce::Host>& now) { return now[0].claims.empty(); };
    auto fewest = BruteForce(hosts, 0, goal).Fewest(3);

    RebalancePlan plan = PlanDrain(hosts, 0, NoFlavor, AtMost(3));

    ASSERT_NE(plan.verdict, PlanVerdict::kUndecided) << seed;
    ASSERT_EQ(plan.verdict == PlanVerdict::kDone, fewest.has_value()) << seed;
    if (!fewest) continue;
    EXPECT_EQ(plan.moves.size(), *fewest) << seed;
    Status check = CheckDrainPlan(hosts, 0, plan, AtMost(3));
    EXPECT_TRUE(check.ok()) << seed << " " << check.ToString();
    drained += *fewest > 0 ? 1 : 0;
  }
  EXPECT_GT(drained, 10);
}

}  // namespace
}  // namespace berth::scheduler
