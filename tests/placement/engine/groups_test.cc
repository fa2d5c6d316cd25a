// Promises of server groups, several claims in one record, status of hosts: in the engine.
#include <gtest/gtest.h>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/model/usage.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

class EngineGroups : public ::testing::Test {
 protected:
  void SetUp() override {
    for (uint8_t host = 1; host <= 3; ++host) ASSERT_TRUE(Apply(ReportHost{MakeHost(host)}).has_value());
  }
  template <class Body>
  Result<Outcome> Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .body = std::move(body)});
    last_ = engine_->Commit();
    return outcome;
  }
  // A floating instance of the group on a host.
  static Claim Member(uint8_t number, uint8_t host, ServerGroupPolicy policy, uint32_t most = 1,
                      const std::string& group = "g") {
    Claim claim;
    claim.consumer = Uuid::FromName(Id(9), std::to_string(number));
    claim.name = "vm" + std::to_string(number);
    claim.host = Id(host);
    claim.spec.vcpus = 1;
    claim.spec.memory_bytes = kMib;
    claim.group = ServerGroup{group, policy, most};
    return claim;
  }
  Result<Outcome> Create(const Claim& claim) { return Apply(CreateClaim{claim, {}}); }
  size_t Claims() const {
    size_t claims = 0;
    for (const auto& host : engine_->Hosts()) claims += host->claims.size();
    return claims;
  }

  std::unique_ptr<Engine> engine_ = *Engine::Restore({});
  Engine::Committed last_;
  uint64_t now_ = 1000;
};

TEST_F(EngineGroups, AntiAffinityIsCheckedWhenTheClaimIsCommitted) {
  using enum ServerGroupPolicy;
  EXPECT_TRUE(Create(Member(1, 1, kAntiAffinity)).has_value());
  Result<Outcome> second = Create(Member(2, 1, kAntiAffinity));
  EXPECT_EQ(second.status().code(), StatusCode::kAborted);
  EXPECT_EQ(second.status().field(), "group");
  EXPECT_TRUE(Create(Member(2, 2, kAntiAffinity)).has_value());
  EXPECT_TRUE(Create(Member(3, 1, kAntiAffinity, 1, "other")).has_value());
}

TEST_F(EngineGroups, AntiAffinityMayAllowSeveralPerHost) {
  using enum ServerGroupPolicy;
  EXPECT_TRUE(Create(Member(1, 1, kAntiAffinity, 2)).has_value());
  EXPECT_TRUE(Create(Member(2, 1, kAntiAffinity, 2)).has_value());
  EXPECT_FALSE(Create(Member(3, 1, kAntiAffinity, 2)).has_value());
}

TEST_F(EngineGroups, AffinityIsCheckedWhenTheClaimIsCommitted) {
  using enum ServerGroupPolicy;
  EXPECT_TRUE(Create(Member(1, 2, kAffinity)).has_value());
  EXPECT_EQ(Create(Member(2, 1, kAffinity)).status().code(), StatusCode::kAborted);
  EXPECT_TRUE(Create(Member(2, 2, kAffinity)).has_value());
}

TEST_F(EngineGroups, SoftPoliciesAreNotHeldToAnything) {
  using enum ServerGroupPolicy;
  EXPECT_TRUE(Create(Member(1, 1, kSoftAntiAffinity)).has_value());
  EXPECT_TRUE(Create(Member(2, 1, kSoftAntiAffinity)).has_value());
  EXPECT_TRUE(Create(Member(3, 1, kSoftAffinity, 1, "near")).has_value());
  EXPECT_TRUE(Create(Member(4, 2, kSoftAffinity, 1, "near")).has_value());
}

TEST_F(EngineGroups, AGroupHasOnePolicyUntilItsLastMemberIsGone) {
  using enum ServerGroupPolicy;
  Claim only = Member(1, 1, kAntiAffinity);
  ASSERT_TRUE(Create(only).has_value());
  EXPECT_EQ(Create(Member(2, 2, kAffinity)).status().code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(Apply(ReleaseClaim{only.name}).has_value());
  EXPECT_FALSE(Create(Member(2, 1, kAntiAffinity)).has_value());  // it is held until the agent confirms
  ASSERT_TRUE(Apply(FinalizeClaim{only.consumer}).has_value());
  EXPECT_TRUE(Create(Member(2, 2, kAffinity)).has_value());
}

TEST_F(EngineGroups, PromisesOutliveARestart) {
  using enum ServerGroupPolicy;
  ASSERT_TRUE(Create(Member(1, 1, kAntiAffinity)).has_value());
  db::Contents contents = engine_->Export();
  auto again = Engine::Restore(contents);
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  engine_ = *std::move(again);
  EXPECT_EQ(db::EncodeContents(engine_->Export()), db::EncodeContents(contents));
  EXPECT_EQ(Create(Member(2, 1, kAntiAffinity)).status().code(), StatusCode::kAborted);
}

TEST_F(EngineGroups, ARolledBackMemberIsNone) {
  using enum ServerGroupPolicy;
  ASSERT_TRUE(engine_->Apply({.at_ms = 1, .body = CreateClaim{Member(1, 1, kAntiAffinity), {}}}).has_value());
  engine_->Rollback();
  EXPECT_TRUE(Create(Member(2, 1, kAntiAffinity)).has_value());
}

TEST_F(EngineGroups, TheCodecKeepsGroupAndDisk) {
  Claim claim = Member(1, 1, ServerGroupPolicy::kSoftAntiAffinity, 7);
  claim.spec.disk_bytes = uint64_t{5} << 30;
  auto back = db::DecodeClaim(db::EncodeClaim(claim));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(*back, claim);
  HostReport host = MakeHost();
  host.disk_bytes = uint64_t{7} << 40;
  EXPECT_EQ(*db::DecodeReport(db::EncodeReport(host)), host);
}

TEST_F(EngineGroups, SeveralClaimsAreMadeInOneCommandOrNone) {
  using enum ServerGroupPolicy;
  CreateClaims all;
  for (uint8_t i = 1; i <= 3; ++i) all.claims.push_back({Member(i, i, kAntiAffinity), {}});
  CreateClaims broken = all;
  broken.claims[2].claim.host = Id(1);  // a second member there
  const db::Contents before = engine_->Export();
  const uint64_t sequence = engine_->sequence();
  Result<Outcome> refused = Apply(broken);
  EXPECT_EQ(refused.status().code(), StatusCode::kAborted);
  EXPECT_EQ(refused.status().field(), "claims[2].group");
  EXPECT_EQ(Claims(), 0u);
  EXPECT_EQ(engine_->sequence(), sequence);
  EXPECT_EQ(db::EncodeContents(engine_->Export()), db::EncodeContents(before));

  Result<Outcome> made = Apply(all);
  ASSERT_TRUE(made.has_value()) << made.status().ToString();
  ASSERT_EQ(made->made.size(), 3u);
  EXPECT_EQ(Claims(), 3u);
  EXPECT_EQ(engine_->sequence(), sequence + 3);
  // One more than each host had: a host begins with the number of the event that made it.
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(made->made[i].generation, i + 2);
  // The same again changes nothing.
  Result<Outcome> again = Apply(all);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->changes.empty());
  EXPECT_EQ(again->made.size(), 3u);
}

TEST_F(EngineGroups, ClaimsOfOneCommandCountOnTopOfEachOther) {
  CreateClaims two;
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {0})});
  Claim second = first;
  first.group.reset();
  second.consumer = Uuid::FromName(Id(9), "second");
  second.name = "second";
  HostReport host = MakeHost(1);
  uint32_t cpu = host.cells[0].dedicated_cpus.First();
  first.cells[0].host_cell = second.cells[0].host_cell = host.cells[0].id;
  first.cells[0].pinning = second.cells[0].pinning = {{0, cpu}};
  first.host = second.host = Id(1);
  two.claims = {{first, 1}, {second, 2}};
  Result<Outcome> outcome = Apply(two);
  EXPECT_EQ(outcome.status().code(), StatusCode::kFailedPrecondition);  // one CPU for both
  EXPECT_EQ(outcome.status().field().substr(0, 9), "claims[1]");
  second.cells[0].pinning = {{0, host.cells[0].dedicated_cpus.NextAfter(cpu)}};
  two.claims[1].claim = second;
  EXPECT_TRUE(Apply(two).has_value());  // the second expects the generation that the first leaves
  EXPECT_EQ(Apply(CreateClaims{}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineGroups, TakingAHostOutSetsItsTraitAndTellsThoseWhoWatch) {
  Result<Outcome> out = Apply(SetHostStatus{"host1", false});
  ASSERT_TRUE(out.has_value()) << out.status().ToString();
  EXPECT_EQ(out->generation, 2u);
  ASSERT_EQ(last_.events.size(), 1u);
  EXPECT_EQ(last_.events[0]->kind, EventKind::kHostChanged);
  EXPECT_EQ(last_.events[0]->host, Id(1));
  const ResourceView& view = engine_->resources();
  ProviderRef root = view.FindProvider(Id(1));
  auto disabled = view.traits().Find(std::string("COMPUTE_STATUS_DISABLED"));
  ASSERT_TRUE(disabled.has_value());
  auto has = [&] {
    ProviderRef now = engine_->resources().FindProvider(Id(1));
    auto traits = now.tree->traits(0);
    return std::find(traits.begin(), traits.end(), *disabled) != traits.end();
  };
  EXPECT_TRUE(has());
  // A report leaves it, a repeated command changes nothing.
  HostReport report = MakeHost(1);
  report.kernel_release = "another";
  ASSERT_TRUE(Apply(ReportHost{report}).has_value());
  EXPECT_TRUE(has());
  EXPECT_TRUE(Apply(SetHostStatus{Id(1).ToString(), false})->changes.empty());
  ASSERT_TRUE(Apply(SetHostStatus{"host1", true}).has_value());
  EXPECT_FALSE(has());
  EXPECT_EQ(Apply(SetHostStatus{"nobody", false}).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineGroups, TraitsAndAggregatesOfAHostsProvidersAreToldAsAChangeOfTheHost) {
  Result<Outcome> traits = Apply(SetTraits{Id(1), {}, {"HW_CPU_X86_AVX2"}});
  ASSERT_TRUE(traits.has_value()) << traits.status().ToString();
  ASSERT_EQ(last_.events.size(), 1u);
  EXPECT_EQ(last_.events[0]->kind, EventKind::kHostChanged);
  EXPECT_EQ(last_.events[0]->generation, 2u);
  Result<Outcome> aggregates =
      Apply(SetAggregates{.provider = Id(1), .generation = {}, .aggregates = {Id(77)}});
  ASSERT_TRUE(aggregates.has_value()) << aggregates.status().ToString();
  EXPECT_EQ(last_.events.size(), 1u);
}

TEST_F(EngineGroups, DiskIsCountedWhereTheHostTellsIt) {
  HostReport report = MakeHost(1);
  report.disk_bytes = uint64_t{10} << 30;
  ASSERT_TRUE(Apply(ReportHost{report}).has_value());
  Claim claim = Member(1, 1, ServerGroupPolicy::kSoftAffinity);
  claim.spec.disk_bytes = uint64_t{6} << 30;
  ASSERT_TRUE(Create(claim).has_value());
  Claim second = Member(2, 1, ServerGroupPolicy::kSoftAffinity);
  second.spec.disk_bytes = uint64_t{6} << 30;
  Result<Outcome> refused = Create(second);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.status().field(), "spec.disk_bytes");
  second.host = Id(2);  // tells none
  EXPECT_TRUE(Create(second).has_value());
}

}  // namespace
}  // namespace berth::placement
