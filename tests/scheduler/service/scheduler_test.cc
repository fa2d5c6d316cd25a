#include "scheduler/service/scheduler.h"

#include <random>

#include <gtest/gtest.h>

#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

constexpr const char* kCatalogue = R"(
aliases:
  - {name: vf, vendor_id: "8086", product_id: "154c", device_type: type-VF}
flavors:
  - {name: tiny, vcpus: 1, memory_mib: 512}
  - {name: pinned4, vcpus: 4, memory_mib: 1024, extra_specs: {hw:cpu_policy: dedicated}}
  - {name: cells2, vcpus: 4, memory_mib: 1024, extra_specs: {hw:cpu_policy: dedicated, hw:numa_nodes: 2}}
  - name: vf.near
    vcpus: 1
    memory_mib: 512
    extra_specs: {hw:numa_nodes: 1, hw:pci_numa_affinity_policy: required, pci_passthrough:alias: "vf:1"}
  - name: vf.any
    vcpus: 1
    memory_mib: 512
    extra_specs: {hw:numa_nodes: 1, hw:pci_numa_affinity_policy: preferred, pci_passthrough:alias: "vf:1"}
)";

class SchedulerTest : public ::testing::Test {
 protected:
  void Start() {
    auto catalogue = ParseCatalogue(kCatalogue, "test.yaml");
    ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
    scheduler_ = std::make_unique<Scheduler>(std::make_shared<const Catalogue>(std::move(*catalogue)),
                                             placement_, metrics_, [] { return uint64_t{1700000000000}; });
  }
  InstanceAnswer Create(const std::string& name, const std::string& flavor, const Uuid& uuid = {}) {
    InstanceRequest request;
    request.uuid = uuid;
    request.name = name;
    request.flavor = flavor;
    return scheduler_->Create(request);
  }
  // A claim of somebody else that pins dedicated CPUs 2.. of cell 0.
  placement::Claim OtherClaim(const std::string& host, uint32_t first, uint32_t count) {
    placement::Claim claim;
    claim.consumer = Uuid::Random();
    claim.name = "other-" + claim.consumer.ToString();
    claim.host = Uuid::FromName(Uuid{}, host);
    claim.spec.vcpus = count;
    claim.spec.memory_bytes = 1 << 20;
    placement::CellBinding cell;
    cell.vcpus = CpuSet::Range(0, count - 1);
    for (uint32_t i = 0; i < count; ++i) cell.pinning.emplace_back(i, first + i);
    cell.memory_bytes = 1 << 20;
    claim.cells.push_back(cell);
    return claim;
  }

  FakePlacement placement_;
  MetricsRegistry metrics_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, ClaimsExactCpusBeforeItAnswers) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  Start();

  InstanceAnswer answer = Create("vm", "pinned4");

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  ASSERT_EQ(placement_.Claims().size(), 1u);
  EXPECT_EQ(placement_.Claims()[0], *answer.claim);
  EXPECT_EQ(answer.host_name, "h1");
  EXPECT_EQ(answer.claim->name, "vm");
  EXPECT_EQ(answer.claim->spec.flavor, "pinned4");
  EXPECT_EQ(answer.claim->created_at_ms, 1700000000000u);
  ASSERT_EQ(answer.claim->cells.size(), 1u);
  std::vector<std::pair<uint32_t, uint32_t>> pinning = {{0, 2}, {1, 3}, {2, 4}, {3, 5}};
  EXPECT_EQ(answer.claim->cells[0].pinning, pinning);
}

TEST_F(SchedulerTest, InstanceWithoutTopologyIsClaimedAsFloatingTotals) {
  placement_.ReportHost(MakeHost("h1", 2, 0));
  Start();

  InstanceAnswer answer = Create("vm", "tiny");

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_TRUE(answer.claim->cells.empty());
  EXPECT_EQ(answer.claim->spec.vcpus, 1u);
  EXPECT_EQ(answer.claim->spec.memory_bytes, uint64_t{512} << 20);
}

TEST_F(SchedulerTest, SeesItsOwnClaimBeforeThePlacementEventComes) {
  placement_.ReportHost(MakeHost("h1", 1, 8));
  Start();
  placement_.HoldEvents(true);

  InstanceAnswer first = Create("a", "pinned4");
  InstanceAnswer second = Create("b", "pinned4");
  InstanceAnswer third = Create("c", "pinned4");

  EXPECT_TRUE(first.status.ok());
  EXPECT_TRUE(second.status.ok());
  EXPECT_EQ(third.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(placement_.create_calls(), 2u);  // no claim was refused
  placement_.HoldEvents(false);
  EXPECT_EQ(scheduler_->List().size(), 2u);
}

TEST_F(SchedulerTest, DecidesAgainWhenSomebodyElseTookTheHost) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  placement_.ReportHost(MakeHost("h2", 1, 4));
  Start();
  bool taken = false;
  placement_.before_claim = [&](const placement::Claim& claim) {
    if (taken) return;
    taken = true;
    placement::Claim other = OtherClaim("h1", 2, 4);
    other.host = claim.host;
    ASSERT_TRUE(placement_.ClaimByOther(other).ok());
  };

  InstanceAnswer answer = Create("vm", "pinned4");

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(answer.host_name, "h2");
  EXPECT_EQ(placement_.create_calls(), 2u);
}

TEST_F(SchedulerTest, LearnsOfAnUnseenClaimThroughTheRefusal) {
  placement_.ReportHost(MakeHost("h1", 1, 8));
  Start();
  placement_.HoldEvents(true);
  ASSERT_TRUE(placement_.ClaimByOther(OtherClaim("h1", 2, 4)).ok());

  InstanceAnswer answer = Create("vm", "pinned4");

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(answer.claim->cells[0].pinning[0].second, 6u);
}

TEST_F(SchedulerTest, GivesUpAfterABoundedNumberOfLostRaces) {
  placement_.ReportHost(MakeHost("h1", 1, 64));
  Start();
  placement_.HoldEvents(true);
  uint32_t next = 2;
  placement_.before_claim = [&](const placement::Claim&) {
    ASSERT_TRUE(placement_.ClaimByOther(OtherClaim("h1", next++, 1)).ok());
  };

  InstanceAnswer answer = Create("vm", "pinned4");

  EXPECT_EQ(answer.status.code(), StatusCode::kAborted);
  EXPECT_EQ(placement_.create_calls(), 16u);
}

TEST_F(SchedulerTest, RepeatedUuidAnswersAsTheFirstTime) {
  placement_.ReportHost(MakeHost("h1", 1, 8));
  Start();
  Uuid uuid = Uuid::Random();

  InstanceAnswer first = Create("vm", "pinned4", uuid);
  InstanceAnswer again = Create("vm", "pinned4", uuid);

  ASSERT_TRUE(again.status.ok());
  EXPECT_EQ(*again.claim, *first.claim);
  EXPECT_EQ(again.host_name, "h1");
  EXPECT_EQ(placement_.Claims().size(), 1u);
}

TEST_F(SchedulerTest, TheUuidOfAnInstanceThatIsBeingDeletedIsNotTakenForIt) {
  placement_.ReportHost(MakeHost("h1", 1, 8));
  Start();
  const Uuid uuid = Uuid::Random();
  ASSERT_TRUE(Create("vm", "pinned4", uuid).status.ok());
  ASSERT_TRUE(scheduler_->Delete("vm").has_value());

  EXPECT_EQ(Create("vm", "pinned4", uuid).status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Create("vm", "pinned4", uuid).status.field(), "uuid");
}

TEST_F(SchedulerTest, RepeatedUuidIsKnownEvenWhenAnotherSchedulerPlacedIt) {
  placement_.ReportHost(MakeHost("h1", 1, 8));
  Start();
  placement_.HoldEvents(true);
  placement::Claim other = OtherClaim("h1", 2, 4);
  other.name = "vm";
  other.spec.flavor = "pinned4";
  ASSERT_TRUE(placement_.ClaimByOther(other).ok());

  InstanceAnswer answer = Create("vm", "pinned4", other.consumer);

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(answer.claim->consumer, other.consumer);
}

TEST_F(SchedulerTest, UuidOfAnotherInstanceAndTakenNameAreRefused) {
  placement_.ReportHost(MakeHost("h1", 1, 16));
  Start();
  Uuid uuid = Uuid::Random();
  ASSERT_TRUE(Create("vm", "pinned4", uuid).status.ok());

  EXPECT_EQ(Create("other", "pinned4", uuid).status.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Create("vm", "pinned4").status.code(), StatusCode::kAlreadyExists);
}

TEST_F(SchedulerTest, NoNamesForEachHostTheFirstThingMissing) {
  placement_.ReportHost(MakeHost("h1", 1, 3));
  placement::HostReport dead = MakeHost("h2", 1, 8);
  dead.can_run_guests = false;
  placement_.ReportHost(dead);
  Start();

  InstanceAnswer answer = Create("vm", "pinned4");

  EXPECT_EQ(answer.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(answer.status.message(), "no host fits: cpus_dedicated 1, no_kvm 1");
  ASSERT_EQ(answer.decision.refusals.size(), 2u);
  EXPECT_EQ(answer.decision.refusals[0].host_name, "h1");
  EXPECT_EQ(answer.decision.refusals[0].reason.code, "cpus_dedicated");
  EXPECT_EQ(answer.decision.refusals[0].reason.have, "3");
  EXPECT_EQ(answer.decision.refusals[0].reason.need, "4");
  EXPECT_EQ(answer.decision.refusals[0].reason.where, "guest cell 0");
  EXPECT_EQ(answer.decision.refusals[1].reason.code, "no_kvm");
}

TEST_F(SchedulerTest, ChoosesTheHostWithTheFewestNonLocalDevices) {
  placement::HostReport far = MakeHost("a-far", 2, 4);
  AddVfs(far, 0x18, 2, 7);  // a node without CPUs
  placement::HostReport near = MakeHost("b-near", 2, 4);
  AddVfs(near, 0x18, 2, 1);
  placement_.ReportHost(far);
  placement_.ReportHost(near);
  Start();

  InstanceAnswer answer = Create("vm", "vf.any");

  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(answer.host_name, "b-near");
  EXPECT_EQ(answer.claim->cells[0].host_cell, 1u);
  EXPECT_EQ(answer.claim->devices[0].alias, "vf");
}

TEST_F(SchedulerTest, PlainInstancesStayOffHostsWithDevices) {
  placement::HostReport with = MakeHost("a", 1, 4);
  AddVfs(with, 0x18, 2, 0);
  placement_.ReportHost(with);
  placement_.ReportHost(MakeHost("b", 1, 4));
  Start();

  EXPECT_EQ(Create("vm", "pinned4").host_name, "b");
}

TEST_F(SchedulerTest, FillsTheFullerHostFirst) {
  placement_.ReportHost(MakeHost("a", 1, 16));
  placement_.ReportHost(MakeHost("b", 1, 8));
  Start();

  EXPECT_EQ(Create("one", "pinned4").host_name, "b");
  EXPECT_EQ(Create("two", "pinned4").host_name, "b");
  EXPECT_EQ(Create("three", "pinned4").host_name, "a");
}

TEST_F(SchedulerTest, DryRunExplainsAndClaimsNothing) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  placement_.ReportHost(MakeHost("h2", 1, 2));
  Start();
  InstanceRequest request;
  request.name = "vm";
  request.flavor = "pinned4";
  request.dry_run = true;

  InstanceAnswer answer = scheduler_->Create(request);

  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.host_name, "h1");
  EXPECT_TRUE(answer.claim.has_value());
  EXPECT_EQ(answer.decision.fitting, std::vector<std::string>{"h1"});
  EXPECT_EQ(answer.decision.refusals.size(), 1u);
  EXPECT_EQ(placement_.create_calls(), 0u);
}

TEST_F(SchedulerTest, NamedHostIsTheOnlyOneConsidered) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  placement_.ReportHost(MakeHost("h2", 1, 4));
  Start();
  InstanceRequest request;
  request.name = "vm";
  request.flavor = "pinned4";
  request.host = "h2";
  EXPECT_EQ(scheduler_->Create(request).host_name, "h2");
  request.name = "vm2";
  EXPECT_EQ(scheduler_->Create(request).status.code(), StatusCode::kResourceExhausted);
  request.host = "h3";
  Status unknown = scheduler_->Create(request).status;
  EXPECT_EQ(unknown.code(), StatusCode::kNotFound);
  EXPECT_EQ(unknown.field(), "host");
}

TEST_F(SchedulerTest, AnswersUnavailableUntilTheFleetIsKnown) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  placement_.silent = true;
  Start();

  EXPECT_EQ(Create("vm", "pinned4").status.code(), StatusCode::kUnavailable);
  placement_.SendSnapshot();
  EXPECT_TRUE(Create("vm", "pinned4").status.ok());
}

TEST_F(SchedulerTest, LostPlacementIsToldAndChangesNothing) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  Start();
  placement_.failure = Unavailable("connection refused");

  EXPECT_EQ(Create("vm", "pinned4").status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(placement_.create_calls(), 1u);
  placement_.failure = OkStatus();
  EXPECT_TRUE(Create("vm", "pinned4").status.ok());
}

TEST_F(SchedulerTest, ReleasedResourcesComeBackWhenTheAgentConfirms) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  Start();
  InstanceAnswer first = Create("vm", "pinned4");
  ASSERT_TRUE(scheduler_->Delete("vm").has_value());
  EXPECT_EQ(Create("vm2", "pinned4").status.code(), StatusCode::kResourceExhausted);

  placement_.Finalize(first.claim->consumer);

  EXPECT_TRUE(Create("vm2", "pinned4").status.ok());
  EXPECT_EQ(scheduler_->Find("vm").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(scheduler_->Find("vm2")->agent_endpoint, "h1:7703");
}

TEST_F(SchedulerTest, UnknownFlavorIsRefusedWithTheNearestName) {
  placement_.ReportHost(MakeHost("h1", 1, 4));
  Start();

  Status status = Create("vm", "pined4").status;

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.field(), "flavor");
  EXPECT_EQ(status.hint(), "did you mean \"pinned4\"?");
}

// Whatever the order of creates, deletes, late events and lost connections: placement never refuses an
// assignment on a host that is as the scheduler saw it (that would be kInternal).
TEST_F(SchedulerTest, PlacementAcceptsEveryAssignmentInARandomLife) {
  std::mt19937 random(20261121);
  for (uint32_t i = 0; i < 4; ++i) {
    placement::HostReport host = MakeHost("h" + std::to_string(i), 2, 4);
    if (i % 2 == 1) {  // single pool
      for (placement::Cell& cell : host.cells) cell.shared_cpus = cell.dedicated_cpus |= cell.shared_cpus;
      host.cpu_allocation_ratio = 2.0;
    }
    AddVfs(host, 0x18, 3, i % 2);
    placement_.ReportHost(host);
  }
  Start();
  const char* flavors[] = {"tiny", "pinned4", "cells2", "vf.near", "vf.any"};
  uint32_t created = 0;
  for (uint32_t step = 0; step < 1500; ++step) {
    uint32_t action = random() % 10;
    std::vector<placement::Claim> claims = placement_.Claims();
    if (action < 6) {
      InstanceAnswer answer = Create("vm" + std::to_string(step), flavors[random() % 5]);
      bool expected = answer.status.ok() || answer.status.code() == StatusCode::kResourceExhausted;
      ASSERT_TRUE(expected) << answer.status.ToString();
      created += answer.status.ok() ? 1 : 0;
    } else if (action < 8 && !claims.empty()) {
      placement_.Finalize(claims[random() % claims.size()].consumer);
    } else if (action == 8) {
      placement_.HoldEvents(random() % 2 == 0);
    } else {
      placement_.SendSnapshot();
    }
  }
  EXPECT_GT(created, 200u);
  placement_.HoldEvents(false);
  EXPECT_EQ(scheduler_->List().size(), placement_.Claims().size());
}

}  // namespace
}  // namespace berth::scheduler
