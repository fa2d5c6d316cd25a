// Several creates at once.
#include "scheduler/service/multi_create.h"

#include <map>
#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

using placement::ServerGroupPolicy;

constexpr const char* kCatalogue = R"(
aliases:
  - {name: vf, vendor_id: "8086", product_id: "154c", device_type: type-VF}
flavors:
  - {name: tiny, vcpus: 1, memory_mib: 64}
  - {name: pinned2, vcpus: 2, memory_mib: 64, extra_specs: {hw:cpu_policy: dedicated}}
  - {name: pinned4, vcpus: 4, memory_mib: 64, extra_specs: {hw:cpu_policy: dedicated}}
  - {name: vf2, vcpus: 1, memory_mib: 64, extra_specs: {hw:numa_nodes: 1, pci_passthrough:alias: "vf:2"}}
)";

class MultiCreateTest : public ::testing::Test {
 protected:
  void Start(uint32_t hosts, uint32_t dedicated = 4) {
    for (uint32_t i = 0; i < hosts; ++i)
      placement_.ReportHost(MakeHost("h" + std::to_string(i), 1, dedicated));
    auto catalogue = ParseCatalogue(kCatalogue, "test.yaml");
    ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
    scheduler_ = std::make_unique<Scheduler>(std::make_shared<const Catalogue>(*std::move(catalogue)),
                                             placement_, metrics_, [] { return uint64_t{1}; });
  }
  static BatchRequest Batch(int count, const std::string& flavor, bool all = false,
                            std::optional<placement::ServerGroup> group = {}) {
    BatchRequest batch;
    batch.all_or_nothing = all;
    for (int i = 0; i < count; ++i) {
      InstanceRequest request;
      request.name = flavor + "-" + std::to_string(i);
      request.flavor = flavor;
      request.group = group;
      batch.instances.push_back(std::move(request));
    }
    return batch;
  }
  static int Made(const BatchAnswer& answer) {
    int made = 0;
    for (const InstanceAnswer& one : answer.answers) made += one.status.ok() && one.claim ? 1 : 0;
    return made;
  }
  std::map<Uuid, int> PerHost() {
    std::map<Uuid, int> out;
    for (const placement::Claim& claim : placement_.Claims()) ++out[claim.host];
    return out;
  }

  FakePlacement placement_;
  MetricsRegistry metrics_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(MultiCreateTest, OneCallToPlacementMakesAllOfThem) {
  Start(4);
  BatchAnswer answer = scheduler_->CreateMany(Batch(8, "pinned2"));
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(Made(answer), 8);
  EXPECT_EQ(placement_.create_calls(), 1u);
  EXPECT_EQ(placement_.Claims().size(), 8u);
  EXPECT_EQ(scheduler_->List().size(), 8u);
  for (const InstanceAnswer& one : answer.answers) {
    EXPECT_FALSE(one.host_name.empty());
    EXPECT_EQ(one.claim->created_at_ms, 1u);
  }
}

TEST_F(MultiCreateTest, WhatDoesNotFitHasItsReasonAndTheRestIsMade) {
  Start(2);
  BatchAnswer answer = scheduler_->CreateMany(Batch(5, "pinned2"));
  EXPECT_TRUE(answer.status.ok());
  EXPECT_EQ(Made(answer), 4);
  EXPECT_EQ(answer.answers[4].status.code(), StatusCode::kResourceExhausted);
  ASSERT_EQ(answer.answers[4].decision.refusals.size(), 2u);
  EXPECT_EQ(answer.answers[4].decision.refusals[0].reason.code, "cpus_dedicated");
}

TEST_F(MultiCreateTest, AllOrNothingMakesNoneIfOneHasNoPlace) {
  Start(2);
  BatchAnswer answer = scheduler_->CreateMany(Batch(5, "pinned2", true));
  EXPECT_EQ(answer.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(answer.refused, 4u);
  EXPECT_EQ(Made(answer), 0);
  EXPECT_EQ(placement_.create_calls(), 0u);
  EXPECT_TRUE(placement_.Claims().empty());
  EXPECT_TRUE(scheduler_->List().empty());
  // Everything that was tried is free again.
  EXPECT_EQ(Made(scheduler_->CreateMany(Batch(4, "pinned2", true))), 4);
}

TEST_F(MultiCreateTest, AnotherOrderIsTriedBeforeABatchIsRefused) {
  Start(2);
  // Two small ones on each host leave no room for the large one; the large one first does.
  BatchRequest batch = Batch(2, "pinned2", true);
  batch.instances[1].different_host = {};
  BatchRequest large = Batch(1, "pinned4", true);
  placement::ServerGroup apart{"apart", ServerGroupPolicy::kAntiAffinity, 1};
  for (InstanceRequest& one : batch.instances) one.group = std::nullopt;
  batch.instances[0].group = apart;
  batch.instances.push_back(large.instances[0]);
  batch.instances[1].group = apart;
  // a and b must be on different hosts of 4 CPUs: the large one can not be placed at all.
  EXPECT_EQ(scheduler_->CreateMany(batch).status.code(), StatusCode::kResourceExhausted);
  // Without the group they share a host, whatever the order.
  for (InstanceRequest& one : batch.instances) one.group = std::nullopt;
  EXPECT_EQ(Made(scheduler_->CreateMany(batch)), 3);
}

TEST_F(MultiCreateTest, AntiAffinityOfABatchIsKept) {
  Start(16);
  placement::ServerGroup group{"g", ServerGroupPolicy::kAntiAffinity, 1};
  BatchAnswer answer = scheduler_->CreateMany(Batch(16, "tiny", true, group));
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(PerHost().size(), 16u);
  BatchRequest more = Batch(1, "pinned2", true, group);
  BatchAnswer refused = scheduler_->CreateMany(more);
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.answers[0].decision.refusals.size(), 16u);
  EXPECT_EQ(refused.answers[0].decision.refusals[0].reason.code, "server_group");
}

TEST_F(MultiCreateTest, AntiAffinityWithSeveralPerHostFillsThemAll) {
  Start(4);
  placement::ServerGroup group{"g", ServerGroupPolicy::kAntiAffinity, 2};
  EXPECT_EQ(Made(scheduler_->CreateMany(Batch(8, "pinned2", true, group))), 8);
  for (const auto& [host, count] : PerHost()) EXPECT_EQ(count, 2);
}

TEST_F(MultiCreateTest, AffinityFindsTheHostThatHoldsAllMembers) {
  Start(2, 2);
  placement_.ReportHost(MakeHost("z-large", 1, 8));
  placement::ServerGroup group{"g", ServerGroupPolicy::kAffinity, 1};
  // The hosts that come first in the order hold one of them only.
  BatchAnswer answer = scheduler_->CreateMany(Batch(4, "pinned2", true, group));
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  for (const InstanceAnswer& one : answer.answers) EXPECT_EQ(one.host_name, "z-large");
  BatchRequest too_many =
      Batch(5, "pinned2", true, placement::ServerGroup{"h", ServerGroupPolicy::kAffinity, 1});
  for (InstanceRequest& one : too_many.instances) one.name += "x";
  BatchAnswer refused = scheduler_->CreateMany(too_many);
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(PerHost().size(), 1u);
}

TEST_F(MultiCreateTest, ALostRaceIsDecidedAgain) {
  for (bool all : {false, true}) {
    SCOPED_TRACE(all);
    placement_.before_claim = nullptr;
    if (!scheduler_) Start(3);
    int stolen = 0;
    placement_.before_claim = [&](const placement::Claim& claim) {
      if (stolen++ > 0) return;
      placement::Claim other = claim;
      other.consumer = Uuid::Random();
      other.name = "other-" + other.consumer.ToString();
      other.group.reset();
      EXPECT_TRUE(placement_.ClaimByOther(other).ok());
    };
    BatchRequest batch = Batch(2, "pinned2", all);
    for (InstanceRequest& one : batch.instances) one.name += all ? "-all" : "";
    BatchAnswer answer = scheduler_->CreateMany(batch);
    EXPECT_TRUE(answer.status.ok()) << answer.status.ToString();
    EXPECT_EQ(Made(answer), 2);
  }
}

TEST_F(MultiCreateTest, DryRunNamesPlacesAndAlternatesAndClaimsNothing) {
  Start(3);
  BatchRequest batch = Batch(6, "pinned2", true);
  batch.dry_run = true;
  batch.alternates = 2;
  BatchAnswer answer = scheduler_->CreateMany(batch);
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  std::map<std::string, int> hosts;
  for (const InstanceAnswer& one : answer.answers) ++hosts[one.host_name];
  EXPECT_EQ(hosts, (std::map<std::string, int>{{"h0", 2}, {"h1", 2}, {"h2", 2}}));
  EXPECT_EQ(placement_.create_calls(), 0u);
  EXPECT_TRUE(scheduler_->List().empty());
  EXPECT_EQ(Made(scheduler_->CreateMany(Batch(6, "pinned2", true))), 6);
  // One of a small batch has others to fall back to.
  BatchRequest one = Batch(1, "tiny");
  one.dry_run = true;
  one.alternates = 5;
  EXPECT_EQ(scheduler_->CreateMany(one).answers[0].alternates, (std::vector<std::string>{"h1", "h2"}));
}

TEST_F(MultiCreateTest, ExactDevicesOfABatchAreDistinct) {
  placement::HostReport host = MakeHost("h", 1, 8);
  host.cpu_allocation_ratio = 16;
  AddVfs(host, 0x10, 8, 0);
  placement_.ReportHost(host);
  Start(0);
  BatchAnswer answer = scheduler_->CreateMany(Batch(4, "vf2", true));
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  std::set<PciAddress> devices;
  for (const InstanceAnswer& one : answer.answers) {
    ASSERT_EQ(one.claim->devices.size(), 2u);
    for (const auto& device : one.claim->devices) EXPECT_TRUE(devices.insert(device.address).second);
  }
  // All eight are taken.
  BatchRequest one_more = Batch(1, "vf2", true);
  one_more.instances[0].name = "late";
  EXPECT_EQ(scheduler_->CreateMany(one_more).status.code(), StatusCode::kResourceExhausted);
}

TEST_F(MultiCreateTest, BadBatchesAreNamed) {
  Start(1);
  EXPECT_EQ(scheduler_->CreateMany({}).status.field(), "instances");
  BatchRequest twice = Batch(2, "tiny");
  twice.instances[1].name = twice.instances[0].name;
  EXPECT_EQ(scheduler_->CreateMany(twice).status.field(), "instances[1].name");
  BatchRequest unknown = Batch(2, "tiny", true);
  unknown.instances[1].flavor = "tinny";
  BatchAnswer answer = scheduler_->CreateMany(unknown);
  EXPECT_EQ(answer.status.field(), "instances[1].flavor");
  EXPECT_EQ(answer.refused, 1u);
  EXPECT_TRUE(placement_.Claims().empty());
  unknown.all_or_nothing = false;
  answer = scheduler_->CreateMany(unknown);
  EXPECT_TRUE(answer.answers[0].status.ok());
  EXPECT_EQ(answer.answers[1].status.code(), StatusCode::kInvalidArgument);
}

TEST_F(MultiCreateTest, ARepeatedBatchAnswersAsTheFirstTime) {
  Start(2);
  BatchRequest batch = Batch(3, "tiny", true);
  for (InstanceRequest& one : batch.instances) one.uuid = Uuid::FromName(Uuid{}, one.name);
  BatchAnswer first = scheduler_->CreateMany(batch);
  BatchAnswer second = scheduler_->CreateMany(batch);
  ASSERT_TRUE(second.status.ok()) << second.status.ToString();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(first.answers[i].claim->cells, second.answers[i].claim->cells);
  EXPECT_EQ(placement_.Claims().size(), 3u);
}

TEST_F(MultiCreateTest, OneThatIsBeingDeletedIsNotCountedAsMade) {
  Start(2);
  BatchRequest batch = Batch(3, "tiny", true);
  for (InstanceRequest& one : batch.instances) one.uuid = Uuid::FromName(Uuid{}, one.name);
  ASSERT_TRUE(scheduler_->CreateMany(batch).status.ok());
  ASSERT_TRUE(scheduler_->Delete(batch.instances[1].name).has_value());

  const BatchAnswer answer = scheduler_->CreateMany(batch);

  EXPECT_EQ(answer.answers[1].status.code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(answer.status.ok());
}

TEST_F(MultiCreateTest, LostPlacementLeavesNothingAssumed) {
  Start(2);
  placement_.failure = Unavailable("gone");
  BatchAnswer answer = scheduler_->CreateMany(Batch(4, "pinned2"));
  EXPECT_EQ(Made(answer), 0);
  for (const InstanceAnswer& one : answer.answers) EXPECT_EQ(one.status.code(), StatusCode::kUnavailable);
  placement_.failure = OkStatus();
  EXPECT_TRUE(scheduler_->mirror().Assumed().empty());
  EXPECT_EQ(Made(scheduler_->CreateMany(Batch(4, "pinned2"))), 4);
}

}  // namespace
}  // namespace berth::scheduler
