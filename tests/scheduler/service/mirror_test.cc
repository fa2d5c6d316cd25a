#include <gtest/gtest.h>

#include "scheduler/service/fleet.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

placement::Claim FloatingClaim(const std::string& name, const std::string& host) {
  placement::Claim claim;
  claim.consumer = Uuid::FromName(Uuid{}, name);
  claim.name = name;
  claim.host = Uuid::FromName(Uuid{}, host);
  claim.spec.vcpus = 1;
  claim.spec.memory_bytes = 1 << 20;
  return claim;
}

placement::Claim InState(placement::Claim claim, placement::InstanceState state) {
  claim.status.state = state;
  return claim;
}

size_t CountHosts(const Mirror& mirror) {
  size_t count = 0;
  mirror.Snapshot()->ForEach([&](const HostView&) { ++count; });
  return count;
}

TEST(Mirror, SnapshotStaysAsItWasWhileTheFleetChanges) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  std::shared_ptr<const Fleet> before = mirror.Snapshot();

  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, FloatingClaim("vm", "h")});

  EXPECT_EQ(before->At(0)->generation, 1u);
  EXPECT_EQ(before->At(0)->usage.floating_vcpus, 0u);
  EXPECT_EQ(mirror.Snapshot()->At(0)->generation, 2u);
  EXPECT_EQ(mirror.Snapshot()->At(0)->usage.floating_vcpus, 1u);
}

TEST(Mirror, EventsOlderThanTheViewAreIgnored) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 5, host, {}});

  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 4, {}, FloatingClaim("vm", "h")});

  EXPECT_FALSE(mirror.FindClaim("vm").has_value());
}

TEST(Mirror, KeepsAnOwnClaimThatASnapshotOnItsWayDoesNotKnow) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 5, host, {}});
  mirror.Apply({PlacementEvent::Kind::kReset, {}, 0, {}, {}});
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 5, host, {}});

  mirror.ApplyOwnClaim(FloatingClaim("vm", "h"), 5, 6);
  mirror.Apply({PlacementEvent::Kind::kSynced, {}, 0, {}, {}});

  EXPECT_TRUE(mirror.FindClaim("vm").has_value());
  EXPECT_EQ(mirror.Snapshot()->At(0)->generation, 6u);
}

// The agent's word about another instance was on its way when the own claim was answered: a status does not
// raise the generation.
TEST(Mirror, AStatusOnItsWayIsNotLostToAnOwnClaim) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  placement::Claim first = FloatingClaim("first", "h");
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, first});
  mirror.ApplyOwnClaim(FloatingClaim("second", "h"), 2, 3);
  mirror.ApplyOwnClaim(FloatingClaim("third", "h"), 3, 4);

  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                host.uuid,
                2,
                {},
                InState(first, placement::InstanceState::kRunning)});

  EXPECT_EQ(mirror.FindClaim("first")->claim->status.state, placement::InstanceState::kRunning);
  EXPECT_TRUE(mirror.FindClaim("second").has_value());
  EXPECT_TRUE(mirror.FindClaim("third").has_value());
  EXPECT_EQ(mirror.Snapshot()->At(0)->generation, 4u);
}

TEST(Mirror, AnOwnClaimThatASnapshotDoesNotKnowDoesNotBringOldStatusesBack) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  placement::Claim first = FloatingClaim("first", "h");
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, first});
  mirror.Apply({PlacementEvent::Kind::kReset, {}, 0, {}, {}});
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 2, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                host.uuid,
                2,
                {},
                InState(first, placement::InstanceState::kBuilding)});
  mirror.ApplyOwnClaim(FloatingClaim("second", "h"), 2, 3);
  mirror.Apply({PlacementEvent::Kind::kSynced, {}, 0, {}, {}});
  EXPECT_EQ(mirror.FindClaim("first")->claim->status.state, placement::InstanceState::kBuilding);

  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                host.uuid,
                2,
                {},
                InState(first, placement::InstanceState::kRunning)});

  EXPECT_EQ(mirror.FindClaim("first")->claim->status.state, placement::InstanceState::kRunning);
  EXPECT_TRUE(mirror.FindClaim("second").has_value());
  EXPECT_EQ(mirror.Snapshot()->At(0)->generation, 3u);
}

TEST(Mirror, WhatASnapshotLacksIsGoneBesideClaimsThatAreAssumed) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, FloatingClaim("ended", "h")});
  mirror.Apply({PlacementEvent::Kind::kReset, {}, 0, {}, {}});
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 3, host, {}});
  const placement::Claim one = FloatingClaim("one", "h");
  const placement::Claim two = FloatingClaim("two", "h");
  ASSERT_TRUE(mirror.Assume(one, 2));
  ASSERT_TRUE(mirror.Assume(two, 3));

  mirror.Apply({PlacementEvent::Kind::kSynced, {}, 0, {}, {}});

  EXPECT_FALSE(mirror.FindClaim("ended").has_value());
  EXPECT_EQ(mirror.Snapshot()->At(0)->usage.floating_vcpus, 2u);
  mirror.Abandon(two, 3);
  mirror.Abandon(one, 2);
  EXPECT_EQ(mirror.Snapshot()->At(0)->usage, placement::HostUsage{});
}

// Two claims hold one CPU for a moment: ours, which placement refuses, and the one that it made before.
TEST(Mirror, AnAbandonedClaimGivesBackOnlyWhatNoOtherHolds) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  auto pinned = [](const std::string& name) {
    placement::Claim claim = FloatingClaim(name, "h");
    placement::CellBinding cell;
    cell.vcpus = CpuSet{0};
    cell.pinning = {{0, 3}};
    cell.memory_bytes = 1 << 20;
    claim.cells = {cell};
    return claim;
  };
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  placement::Claim floating = FloatingClaim("floating", "h");
  ASSERT_TRUE(mirror.Assume(floating, 1));
  placement::Claim ours = pinned("ours");
  ASSERT_TRUE(mirror.Assume(ours, 2));
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, pinned("theirs")});

  mirror.Abandon(ours, 2);
  mirror.Abandon(floating, 1);

  HostViewPtr view = mirror.Snapshot()->At(0);
  EXPECT_EQ(view->claims.size(), 1u);
  placement::HostUsage expected;
  placement::AddClaim(pinned("theirs"), expected);
  EXPECT_EQ(view->usage, expected);
  EXPECT_EQ(view->fit.cells[0].free_dedicated, FromHost(*view->report, expected).cells[0].free_dedicated);
}

TEST(Mirror, FiltersReadTheSameBesideTheHostsAsInThem) {
  Mirror mirror({std::make_shared<FactsTable>(), 60, 3600});
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, FloatingClaim("one", "h")});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                host.uuid,
                3,
                {},
                InState(FloatingClaim("two", "h"), placement::InstanceState::kFailed)});

  auto fleet = mirror.Snapshot();
  auto beside = fleet->FilteredAt(0);
  ASSERT_TRUE(beside.has_value());
  EXPECT_EQ(&beside->facts, fleet->At(0)->facts.get());
  EXPECT_EQ(beside->instances, 2u);
  EXPECT_EQ(beside->failures, 1u);
  EXPECT_TRUE(beside->backing_off);
  EXPECT_FALSE(fleet->FilteredAt(1).has_value());

  mirror.EndRests(fleet->At(0)->backoff_until_ms);
  EXPECT_FALSE(mirror.Snapshot()->FilteredAt(0)->backing_off);
}

TEST(Mirror, AnAnswerThatIsNotNewerThanTheEventsDoesNotReplaceThem) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  placement::Claim claim = FloatingClaim("vm", "h");
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                host.uuid,
                2,
                {},
                InState(claim, placement::InstanceState::kRunning)});

  // Asked for before the instance ran.
  mirror.Refresh(host.uuid, HostState{host, {InState(claim, placement::InstanceState::kBuilding)}, 2});

  EXPECT_EQ(mirror.FindClaim("vm")->claim->status.state, placement::InstanceState::kRunning);
}

TEST(Mirror, SnapshotReplacesTheFleetOnlyWhenItIsComplete) {
  Mirror mirror;
  placement::HostReport old = MakeHost("old", 1, 4);
  placement::HostReport fresh = MakeHost("new", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, old.uuid, 1, old, {}});
  mirror.Apply({PlacementEvent::Kind::kReset, {}, 0, {}, {}});
  mirror.Apply({PlacementEvent::Kind::kHostChanged, fresh.uuid, 1, fresh, {}});
  EXPECT_EQ(mirror.Snapshot()->At(0)->report->name, "old");
  EXPECT_FALSE(mirror.synced());

  mirror.Apply({PlacementEvent::Kind::kSynced, {}, 0, {}, {}});

  EXPECT_EQ(mirror.Snapshot()->At(0)->report->name, "new");
  EXPECT_EQ(CountHosts(mirror), 1u);
  EXPECT_TRUE(mirror.synced());
}

TEST(Mirror, DeletedHostsLeaveSlotsThatNewOnesTake) {
  Mirror mirror;
  for (int i = 0; i < 200; ++i) {
    placement::HostReport host = MakeHost("h" + std::to_string(i), 1, 1);
    mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  }
  for (int i = 0; i < 100; ++i) {
    mirror.Apply(
        {PlacementEvent::Kind::kHostDeleted, Uuid::FromName(Uuid{}, "h" + std::to_string(i)), 1, {}, {}});
  }
  EXPECT_EQ(CountHosts(mirror), 100u);
  placement::HostReport host = MakeHost("late", 1, 1);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});

  EXPECT_EQ(CountHosts(mirror), 101u);
  EXPECT_EQ(mirror.Snapshot()->At(200), nullptr);
}

// A swap moves the claim by one event a host; whichever comes first, the instance is always found.
TEST(Mirror, AnInstanceOnTwoHostsIsOnTheOneThatWasToldLast) {
  Mirror mirror;
  placement::HostReport from = MakeHost("from", 1, 4);
  placement::HostReport to = MakeHost("to", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, from.uuid, 1, from, {}});
  mirror.Apply({PlacementEvent::Kind::kHostChanged, to.uuid, 1, to, {}});
  placement::Claim before = FloatingClaim("vm", "from");
  placement::Claim after = FloatingClaim("vm", "to");
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, from.uuid, 2, {}, before});

  mirror.Apply({PlacementEvent::Kind::kClaimChanged, to.uuid, 2, {}, after});
  EXPECT_EQ(mirror.FindClaim("vm")->host_name, "to");
  EXPECT_EQ(mirror.FindClaim(before.consumer.ToString())->host_name, "to");

  mirror.Apply({PlacementEvent::Kind::kClaimChanged,
                from.uuid,
                3,
                {},
                InState(before, placement::InstanceState::kRunning)});
  EXPECT_EQ(mirror.FindClaim("vm")->host_name, "from");

  mirror.Apply({PlacementEvent::Kind::kClaimDeleted, from.uuid, 4, {}, before});
  EXPECT_EQ(mirror.FindClaim("vm")->host_name, "to");

  mirror.Apply({PlacementEvent::Kind::kClaimDeleted, to.uuid, 3, {}, after});
  EXPECT_FALSE(mirror.FindClaim("vm").has_value());
}

TEST(Mirror, ANameGoesToTheYoungerOfTwoInstances) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  placement::Claim old = FloatingClaim("vm", "h");
  old.created_at_ms = 1;
  placement::Claim young = old;
  young.consumer = Uuid::FromName(Uuid{}, "another vm");
  young.created_at_ms = 2;
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 2, {}, old});

  mirror.ApplyOwnClaim(young, 2, 3);
  EXPECT_EQ(mirror.FindClaim("vm")->claim->consumer, young.consumer);

  mirror.Apply({PlacementEvent::Kind::kClaimDeleted, host.uuid, 4, {}, old});
  EXPECT_EQ(mirror.FindClaim("vm")->claim->consumer, young.consumer);
}

// While an own claim loses a race both hold the CPU: it is free when both are gone, and not before.
TEST(Mirror, ACpuThatTwoClaimsHoldIsFreeWhenBothAreGone) {
  Mirror mirror;
  placement::HostReport host = MakeHost("h", 1, 4);
  mirror.Apply({PlacementEvent::Kind::kHostChanged, host.uuid, 1, host, {}});
  const uint32_t cpu = host.cells[0].dedicated_cpus.First();
  auto pinned = [&](const std::string& name) {
    placement::Claim claim = FloatingClaim(name, "h");
    placement::CellBinding cell;
    cell.host_cell = host.cells[0].id;
    cell.vcpus = CpuSet{0};
    cell.pinning = {{0, cpu}};
    claim.cells.push_back(cell);
    return claim;
  };
  auto taken = [&] {
    const auto& cells = mirror.Snapshot()->At(0)->usage.cells;
    return cells.contains(host.cells[0].id) && cells.at(host.cells[0].id).pinned_cpus.Contains(cpu);
  };
  mirror.ApplyOwnClaim(pinned("loser"), 1, 2);
  mirror.Apply({PlacementEvent::Kind::kClaimChanged, host.uuid, 3, {}, pinned("winner")});

  mirror.Apply({PlacementEvent::Kind::kClaimDeleted, host.uuid, 4, {}, pinned("loser")});
  EXPECT_TRUE(taken());

  mirror.Apply({PlacementEvent::Kind::kClaimDeleted, host.uuid, 5, {}, pinned("winner")});
  EXPECT_FALSE(taken());
  EXPECT_EQ(mirror.Snapshot()->At(0)->usage, placement::HostUsage{});
}

}  // namespace
}  // namespace berth::scheduler
