#include "placement/engine/engine.h"

#include <gtest/gtest.h>

#include "db/record_codec.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

class EngineTest : public ::testing::Test {
 protected:
  template <class Body>
  Result<Outcome> Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .body = std::move(body)});
    engine_->Commit();
    return outcome;
  }
  Result<Outcome> Report(const HostReport& report) { return Apply(ReportHost{report}); }
  Result<Outcome> Create(const Claim& claim, std::optional<uint64_t> generation = {}) {
    return Apply(CreateClaim{claim, generation});
  }
  std::shared_ptr<const HostVersion> Host(uint8_t number) const {
    for (const auto& host : engine_->Hosts()) {
      if (host->uuid() == Id(number)) return host;
    }
    return nullptr;
  }

  std::unique_ptr<Engine> engine_ = *Engine::Restore({});
  uint64_t now_ = 1000;
};

TEST_F(EngineTest, FirstReportCreatesTheHost) {
  Result<Outcome> outcome = Report(MakeHost());

  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->generation, 1U);
  EXPECT_EQ(*Host(1)->report, MakeHost());
  EXPECT_EQ(engine_->sequence(), 1U);
}

TEST_F(EngineTest, AnUnchangedReportChangesNothing) {
  ASSERT_TRUE(Report(MakeHost()).has_value());

  Result<Outcome> outcome = Report(MakeHost());

  EXPECT_TRUE(outcome->changes.empty());
  EXPECT_EQ(outcome->generation, 1U);
  EXPECT_EQ(engine_->sequence(), 1U);
}

TEST_F(EngineTest, RefusesTheNameOfAnotherHostAndNamesBoth) {
  ASSERT_TRUE(Report(MakeHost(1)).has_value());
  HostReport other = MakeHost(2);
  other.name = "host1";

  EXPECT_EQ(Report(other).status().ToString(),
            "ALREADY_EXISTS: name: host name \"host1\" belongs to host be000000-0000-0000-0000-000000000001, "
            "reported by "
            "be000000-0000-0000-0000-000000000002");
}

TEST_F(EngineTest, AHostMayChangeItsNameAndFreesTheOldOne) {
  ASSERT_TRUE(Report(MakeHost(1)).has_value());
  HostReport renamed = MakeHost(1);
  renamed.name = "other";
  ASSERT_TRUE(Report(renamed).has_value());

  EXPECT_TRUE(Report([] {
                HostReport second = MakeHost(2);
                second.name = "host1";
                return second;
              }())
                  .has_value());
}

TEST_F(EngineTest, RefusesAReportThatMakesNoSense) {
  HostReport report = MakeHost();
  report.cells[1].id = 0;
  EXPECT_EQ(Report(report).status().field(), "cells[1].id");
}

TEST_F(EngineTest, ClaimTakesWhatItNamesAndRaisesTheGeneration) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5})});
  claim.phase = ClaimPhase::kReleasing;  // ignored, as are the next two
  claim.status.state = InstanceState::kRunning;
  claim.created_at_ms = 1;

  Result<Outcome> outcome = Create(claim);

  ASSERT_TRUE(outcome.has_value()) << outcome.status().ToString();
  EXPECT_EQ(outcome->generation, 2U);
  EXPECT_EQ(outcome->claim->phase, ClaimPhase::kActive);
  EXPECT_EQ(outcome->claim->status.state, InstanceState::kPending);
  EXPECT_EQ(outcome->claim->created_at_ms, 1002U);
  EXPECT_EQ(Host(1)->usage.cells.at(0).pinned_cpus.ToString(), "4-5");
}

TEST_F(EngineTest, ARepeatedClaimIsAnsweredAsTheFirst) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 2, 64);
  Result<Outcome> first = Create(claim, 1);

  Result<Outcome> second = Create(claim, 1);  // the generation has moved on: not looked at again

  ASSERT_TRUE(second.has_value()) << second.status().ToString();
  EXPECT_EQ(*second->claim, *first->claim);
  EXPECT_TRUE(second->changes.empty());
}

TEST_F(EngineTest, RefusesTheSameConsumerOrNameWithOtherContent) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 2, 64)).has_value());
  Claim same_name = FloatingClaim(2, 1, 64);
  same_name.name = "vm1";

  EXPECT_EQ(Create(FloatingClaim(1, 1, 64)).status().message(),
            "consumer be000000-0000-0000-0000-000000000065 (\"vm1\") has a claim with other content");
  EXPECT_EQ(Create(same_name).status().message(),
            "instance name \"vm1\" belongs to be000000-0000-0000-0000-000000000065");
}

TEST_F(EngineTest, RefusesAnOldGenerationAndAnUnknownHost) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  EXPECT_EQ(Create(FloatingClaim(1, 1, 64), 0).status().ToString(),
            "ABORTED: host host1 has generation 1, expected 0");
  EXPECT_EQ(Create(FloatingClaim(1, 1, 64, 9)).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, ReleaseHoldsUntilFinalizeFrees) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 8, 64);
  ASSERT_TRUE(Create(claim).has_value());

  EXPECT_EQ(Apply(FinalizeClaim{claim.consumer}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Apply(ReleaseClaim{"vm1"})->claim->phase, ClaimPhase::kReleasing);
  EXPECT_TRUE(Apply(ReleaseClaim{claim.consumer.ToString()})->changes.empty());
  EXPECT_EQ(Create(claim).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Create(FloatingClaim(2, 1, 64)).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(Apply(FinalizeClaim{claim.consumer}).has_value());
  EXPECT_TRUE(Apply(FinalizeClaim{claim.consumer}).has_value());
  EXPECT_EQ(Host(1)->usage, HostUsage{});
  EXPECT_TRUE(Create(FloatingClaim(2, 1, 64)).has_value());
  EXPECT_EQ(Apply(ReleaseClaim{"vm1"}).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, AHostWithClaimsCannotBeDeleted) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());

  EXPECT_EQ(Apply(DeleteHost{Id(1)}).status().message(), "host host1 has 1 claims, among them \"vm1\"");
  ASSERT_TRUE(Apply(ReleaseClaim{"vm1"}).has_value());
  ASSERT_TRUE(Apply(FinalizeClaim{FloatingClaim(1, 1, 64).consumer}).has_value());
  EXPECT_TRUE(Apply(DeleteHost{Id(1)}).has_value());
  EXPECT_EQ(Host(1), nullptr);
}

TEST_F(EngineTest, DeletingAHostAgainChangesNothingAndSucceeds) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Apply(DeleteHost{Id(1)}).has_value());

  Result<Outcome> again = Apply(DeleteHost{Id(1)});

  ASSERT_TRUE(again.has_value()) << again.status().ToString();
  EXPECT_FALSE(again->changed);
  EXPECT_TRUE(again->changes.empty());
  EXPECT_TRUE(Apply(DeleteHost{Id(7)}).has_value());  // one that never was is as gone
}

TEST_F(EngineTest, ADeletedHostComesBackWithAHigherGeneration) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Apply(DeleteHost{Id(1)}).has_value());
  EXPECT_EQ(Report(MakeHost())->generation, 3U);
}

TEST_F(EngineTest, StatusIsKeptAndRepetitionIsNotWritten) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());
  Uuid consumer = FloatingClaim(1, 1, 64).consumer;
  InstanceStatus running{.state = InstanceState::kRunning, .detail = "", .observed_at_ms = 5};

  EXPECT_EQ(Apply(ReportStatus{consumer, running})->changes.size(), 2U);
  running.observed_at_ms = 6;
  EXPECT_TRUE(Apply(ReportStatus{consumer, running})->changes.empty());
  EXPECT_EQ(Host(1)->claims[0]->status.observed_at_ms, 5U);
  EXPECT_EQ(Host(1)->generation, 2U);  // a status takes nothing
  EXPECT_EQ(Apply(ReportStatus{Id(77), running}).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, TheAgentOfAnotherHostHasNoSayInAClaim) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());
  const Uuid consumer = FloatingClaim(1, 1, 64).consumer;
  const InstanceStatus failed{
      .state = InstanceState::kFailed, .detail = "the VMM ended", .observed_at_ms = 5};

  EXPECT_EQ(Apply(ReportStatus{consumer, failed, Id(2)}).status().ToString(),
            "NOT_FOUND: host: claim \"vm1\" is on another host");
  EXPECT_NE(Host(1)->claims[0]->status.state, InstanceState::kFailed);
  EXPECT_TRUE(Apply(ReportStatus{consumer, failed, Id(1)}).has_value());
  EXPECT_EQ(Host(1)->claims[0]->status.state, InstanceState::kFailed);

  ASSERT_TRUE(Apply(ReleaseClaim{"vm1"}).has_value());
  EXPECT_EQ(Apply(FinalizeClaim{consumer, Id(2)}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Host(1)->claims.size(), 1U);
  EXPECT_TRUE(Apply(FinalizeClaim{consumer, Id(1)}).has_value());
  EXPECT_TRUE(Host(1)->claims.empty());
}

TEST_F(EngineTest, AClaimedDeviceThatIsNoLongerReportedIsKeptUntilItIsFree) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(2, 1))};
  ASSERT_TRUE(Create(claim).has_value());
  HostReport without = MakeHost();
  without.devices = {without.devices[0]};

  Result<Outcome> outcome = Report(without);

  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->warnings,
            (std::vector<std::string>{"device 0000:02:00.1 is held by instance " + claim.consumer.ToString() +
                                      " but not reported: kept"}));
  ASSERT_EQ(Host(1)->report->devices.size(), 3U);  // the plain one, the PF, the VF
  EXPECT_FALSE(Host(1)->report->devices[1].assignable);
  EXPECT_EQ(Host(1)->report->warnings, outcome->warnings);
  EXPECT_EQ(Report(without)->warnings, outcome->warnings);  // told again, written once
  EXPECT_EQ(Host(1)->generation, 3U);

  ASSERT_TRUE(Apply(ReleaseClaim{"vm1"}).has_value());
  ASSERT_TRUE(Apply(FinalizeClaim{claim.consumer}).has_value());
  EXPECT_EQ(*Host(1)->report, without);
}

// A new card may renumber the buses: where the claimed VF was there is a PF now, with VFs of its own.
TEST_F(EngineTest, AClaimedVfWhoseAddressIsReportedAsAPfLeavesAStateThatCanBeRestored) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(2, 1))};
  ASSERT_TRUE(Create(claim).has_value());
  HostReport renumbered = MakeHost();
  renumbered.devices = {MakeDevice(Pci(2, 1), DeviceType::kPf, 0),
                        MakeDevice(Pci(2, 2), DeviceType::kVf, 0, Pci(2, 1))};

  Result<Outcome> outcome = Report(renumbered);

  ASSERT_TRUE(outcome.has_value()) << outcome.status().ToString();
  EXPECT_EQ(Engine::Restore(engine_->Export()).status(), OkStatus());
  ASSERT_EQ(Host(1)->report->devices.size(), 2U);
  EXPECT_EQ(Host(1)->report->devices[0].type, DeviceType::kPf);  // 2.0, kept for its VF
  EXPECT_EQ(Host(1)->report->devices[1].type, DeviceType::kVf);  // 2.1, held
  EXPECT_EQ(outcome->warnings.back(),
            "device 0000:02:00.2 is left out: the address of its PF 0000:02:00.1 is kept for a claim");
}

// Seed 002: "if a device with any allocation is reconfigured in a way that an allocated PF is removed and VFs
// from the same PF is configured (or vice versa) then nova-compute will refuse to start".
TEST_F(EngineTest, RefusesAHostWhoseAllocatedPfIsRemovedAndVfsFromTheSamePfAreConfigured) {
  HostReport host = MakeHost();
  for (Device& device : host.devices) device.assignable = device.type == DeviceType::kPf;
  ASSERT_TRUE(Report(host).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(2, 0))};
  ASSERT_TRUE(Create(claim).has_value());
  HostReport switched = MakeHost();
  for (Device& device : switched.devices) device.assignable = device.type == DeviceType::kVf;

  Status refused = Report(switched).status();

  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "the PF 0000:02:00.0 is held by instance " + claim.consumer.ToString() +
                                   " and no longer configured, but its VF 0000:02:00.1 is");
  EXPECT_EQ(*Host(1)->report, host);
}

TEST_F(EngineTest, RefusesAHostWhoseAllocatedVfIsRemovedAndItsPfIsConfigured) {
  HostReport host = MakeHost();
  for (Device& device : host.devices) device.assignable = device.type == DeviceType::kVf;
  ASSERT_TRUE(Report(host).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(2, 1))};
  ASSERT_TRUE(Create(claim).has_value());
  HostReport switched = host;
  std::erase_if(switched.devices, [](const Device& device) { return device.type == DeviceType::kVf; });
  for (Device& device : switched.devices) device.assignable = device.type == DeviceType::kPf;

  Status refused = Report(switched).status();

  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "the VF 0000:02:00.1 is held by instance " + claim.consumer.ToString() +
                                   " and no longer configured, but its PF 0000:02:00.0 is");

  ASSERT_TRUE(Apply(ReleaseClaim{"vm1"}).has_value());
  ASSERT_TRUE(Apply(FinalizeClaim{claim.consumer}).has_value());
  EXPECT_TRUE(Report(switched).has_value());  // nothing is held any more
}

// Whoever reads the report takes at most this many.
TEST_F(EngineTest, WarningsOfWhatIsKeptDoNotExceedTheLimitOfAReport) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(1))};
  ASSERT_TRUE(Create(claim).has_value());
  HostReport without = MakeHost();
  without.devices.clear();
  without.warnings.assign(1000, "something");

  ASSERT_TRUE(Report(without).has_value());

  ASSERT_EQ(Host(1)->report->warnings.size(), 1000U);
  EXPECT_EQ(Host(1)->report->warnings.back(), "device 0000:01:00.0 is held by instance " +
                                                  claim.consumer.ToString() + " but not reported: kept");
}

TEST_F(EngineTest, RollbackTakesBackAllSinceTheLastCommit) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());
  std::string before = db::EncodeContents(engine_->Export());
  auto seen = Host(1);

  auto apply = [&](auto body) { return engine_->Apply({.at_ms = 1, .body = std::move(body)}); };
  HostReport renamed = MakeHost();
  renamed.name = "other";
  ASSERT_TRUE(apply(CreateClaim{FloatingClaim(2, 1, 64), {}}).has_value());
  ASSERT_TRUE(apply(ReleaseClaim{"vm1"}).has_value());
  ASSERT_TRUE(apply(FinalizeClaim{FloatingClaim(1, 1, 64).consumer}).has_value());
  ASSERT_TRUE(apply(ReportHost{renamed}).has_value());
  ASSERT_TRUE(apply(ReportHost{MakeHost(2)}).has_value());
  engine_->Rollback();

  EXPECT_EQ(db::EncodeContents(engine_->Export()), before);
  EXPECT_EQ(Host(1), seen);
  EXPECT_EQ(Create(FloatingClaim(1, 1, 64))->generation, 2U);
  EXPECT_EQ(Report(MakeHost(2))->generation, 3U);
  EXPECT_EQ(engine_->sequence(), 3U);
}

TEST_F(EngineTest, RestoreRefusesContentsThatContradictThemselves) {
  ASSERT_TRUE(Report(MakeHost()).has_value());
  Claim claim = FloatingClaim(1, 1, 64);
  claim.devices = {Bind(Pci(1))};
  ASSERT_TRUE(Create(claim).has_value());
  db::Contents contents = engine_->Export();
  claim.consumer = Id(200);
  claim.name = "double";
  contents.claims.push_back(std::make_shared<const Claim>(claim));

  EXPECT_EQ(Engine::Restore(contents).status().ToString(),
            "DATA_LOSS: stored claim \"double\" and another one hold device 0000:01:00.0");
}

}  // namespace
}  // namespace berth::placement
