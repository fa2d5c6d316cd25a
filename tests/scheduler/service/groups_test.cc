// Server groups, same and different hosts, hosts that were taken out, hosts that rest: on the create path.
#include <map>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "scheduler/service/scheduler.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

using placement::ServerGroupPolicy;

constexpr const char* kCatalogue = R"(
flavors:
  - {name: tiny, vcpus: 1, memory_mib: 64}
  - {name: pinned4, vcpus: 4, memory_mib: 1024, extra_specs: {hw:cpu_policy: dedicated}}
)";

std::shared_ptr<const Catalogue> TestCatalogue() {
  auto catalogue = ParseCatalogue(kCatalogue, "test.yaml");
  EXPECT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  return std::make_shared<const Catalogue>(*std::move(catalogue));
}

class GroupsTest : public ::testing::Test {
 protected:
  void Start(uint32_t hosts, const char* policy = "") {
    for (uint32_t i = 0; i < hosts; ++i) {
      placement::HostReport host = MakeHost("h" + std::to_string(i), 1, 8);
      host.cpu_allocation_ratio = 16;
      placement_.ReportHost(std::move(host));
    }
    auto parsed = ParsePolicy(policy, "scheduler.yaml");
    ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
    scheduler_ = std::make_unique<Scheduler>(
        TestCatalogue(), placement_, metrics_, [this] { return now_ms_; }, *std::move(parsed));
  }
  static InstanceRequest Request(const std::string& name, const std::string& flavor = "tiny") {
    InstanceRequest request;
    request.name = name;
    request.flavor = flavor;
    return request;
  }
  InstanceAnswer Create(const std::string& name, ServerGroupPolicy policy, uint32_t max = 1,
                        const std::string& group = "g", const std::string& flavor = "tiny") {
    InstanceRequest request = Request(name, flavor);
    request.group = placement::ServerGroup{group, policy, max};
    return scheduler_->Create(request);
  }
  // Members of each host that has any, by name.
  std::map<std::string, int> Spread() {
    std::map<std::string, int> out;
    for (const Mirror::FoundClaim& found : scheduler_->List()) ++out[found.host_name];
    return out;
  }

  uint64_t now_ms_ = 1'700'000'000'000;
  FakePlacement placement_;
  MetricsRegistry metrics_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(GroupsTest, AntiAffinityUsesEachHostOnceAndThenSaysWhy) {
  Start(3);
  for (int i = 0; i < 3; ++i) {
    InstanceAnswer answer = Create("vm" + std::to_string(i), ServerGroupPolicy::kAntiAffinity);
    ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
    EXPECT_EQ(answer.claim->group->name, "g");
  }
  EXPECT_EQ(Spread(), (std::map<std::string, int>{{"h0", 1}, {"h1", 1}, {"h2", 1}}));
  InstanceAnswer fourth = Create("vm3", ServerGroupPolicy::kAntiAffinity);
  EXPECT_EQ(fourth.status.code(), StatusCode::kResourceExhausted);
  ASSERT_EQ(fourth.decision.refusals.size(), 3u);
  for (const Refusal& refusal : fourth.decision.refusals) EXPECT_EQ(refusal.reason.code, "server_group");
}

TEST_F(GroupsTest, AntiAffinityMayAllowSeveralPerHost) {
  Start(2);
  for (int i = 0; i < 4; ++i)
    EXPECT_TRUE(Create("vm" + std::to_string(i), ServerGroupPolicy::kAntiAffinity, 2).status.ok());
  EXPECT_EQ(Spread(), (std::map<std::string, int>{{"h0", 2}, {"h1", 2}}));
  EXPECT_EQ(Create("vm4", ServerGroupPolicy::kAntiAffinity, 2).status.code(), StatusCode::kResourceExhausted);
}

TEST_F(GroupsTest, AffinityStaysOnTheFirstMembersHost) {
  Start(3);
  ASSERT_TRUE(Create("a", ServerGroupPolicy::kAffinity, 1, "g", "pinned4").status.ok());
  ASSERT_TRUE(Create("b", ServerGroupPolicy::kAffinity, 1, "g", "pinned4").status.ok());
  EXPECT_EQ(Spread().size(), 1u);
  InstanceAnswer third =
      Create("c", ServerGroupPolicy::kAffinity, 1, "g", "pinned4");  // its 8 CPUs are taken
  EXPECT_EQ(third.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(third.decision.refusals.size(), 3u);
}

TEST_F(GroupsTest, SoftPoliciesAreWishes) {
  Start(2);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(
        Create("apart" + std::to_string(i), ServerGroupPolicy::kSoftAntiAffinity, 1, "apart").status.ok());
  EXPECT_EQ(Spread().size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Create("near" + std::to_string(i), ServerGroupPolicy::kSoftAffinity, 1, "near", "pinned4")
                    .status.ok());
  }
  auto near0 = scheduler_->Find("near0");
  auto near1 = scheduler_->Find("near1");
  EXPECT_EQ(near0->host_name, near1->host_name);
  InstanceAnswer third = Create("near2", ServerGroupPolicy::kSoftAffinity, 1, "near", "pinned4");
  EXPECT_TRUE(third.status.ok());  // their host is full: another one then
  EXPECT_NE(third.host_name, near0->host_name);
}

TEST_F(GroupsTest, ALaterMemberNeedNotNameThePolicyAndMayNotChangeIt) {
  Start(2);
  InstanceRequest request = Request("a");
  request.group = placement::ServerGroup{"g", ServerGroupPolicy::kAntiAffinity, 1};
  request.group_policy_given = false;
  InstanceAnswer first = scheduler_->Create(request);
  EXPECT_EQ(first.status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(first.status.field(), "group.policy");
  ASSERT_TRUE(Create("a", ServerGroupPolicy::kAffinity).status.ok());
  request.name = "b";
  InstanceAnswer second = scheduler_->Create(request);
  ASSERT_TRUE(second.status.ok()) << second.status.ToString();
  EXPECT_EQ(second.claim->group->policy, ServerGroupPolicy::kAffinity);
  InstanceAnswer third = Create("c", ServerGroupPolicy::kAntiAffinity);
  EXPECT_EQ(third.status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(third.status.field(), "group");
}

TEST_F(GroupsTest, AGroupIsGoneWithItsLastMember) {
  Start(1);
  InstanceAnswer only = Create("a", ServerGroupPolicy::kAntiAffinity);
  ASSERT_TRUE(only.status.ok());
  EXPECT_EQ(scheduler_->mirror().Groups().size(), 1u);
  ASSERT_TRUE(scheduler_->Delete("a").has_value());
  EXPECT_EQ(Create("b", ServerGroupPolicy::kAntiAffinity).status.code(),
            StatusCode::kResourceExhausted);  // held still
  placement_.Finalize(only.claim->consumer);
  EXPECT_TRUE(scheduler_->mirror().Groups().empty());
  EXPECT_TRUE(Create("b", ServerGroupPolicy::kAffinity).status.ok());
}

TEST_F(GroupsTest, AMemberThatTheMirrorHasNotSeenIsLearntFromTheRefusal) {
  Start(2);
  Scheduler other(TestCatalogue(), placement_, metrics_, [this] { return now_ms_; });
  placement_.HoldEvents(true);
  // Each sees its own claim only; the promise is kept where all of them are committed.
  ASSERT_TRUE(Create("a", ServerGroupPolicy::kAffinity).status.ok());
  InstanceRequest request = Request("b");
  request.group = placement::ServerGroup{"g", ServerGroupPolicy::kAffinity, 1};
  request.host = "h1";  // where `a` is not
  InstanceAnswer elsewhere = other.Create(request);
  EXPECT_FALSE(elsewhere.status.ok());
  request.host.clear();
  InstanceAnswer together = other.Create(request);
  ASSERT_TRUE(together.status.ok()) << together.status.ToString();
  placement_.HoldEvents(false);
  std::vector<placement::Claim> claims = placement_.Claims();
  ASSERT_EQ(claims.size(), 2u);
  EXPECT_EQ(claims[0].host, claims[1].host);
}

TEST_F(GroupsTest, SameAndDifferentHostNameInstances) {
  Start(3);
  InstanceAnswer a = scheduler_->Create(Request("a"));
  ASSERT_TRUE(a.status.ok());
  InstanceRequest apart = Request("b");
  apart.different_host = {"a"};
  InstanceAnswer b = scheduler_->Create(apart);
  ASSERT_TRUE(b.status.ok());
  EXPECT_NE(b.host_name, a.host_name);
  InstanceRequest third = Request("c");
  third.different_host = {"a", b.claim->consumer.ToString()};
  InstanceAnswer c = scheduler_->Create(third);
  ASSERT_TRUE(c.status.ok());
  EXPECT_NE(c.host_name, a.host_name);
  EXPECT_NE(c.host_name, b.host_name);
  InstanceRequest near = Request("d");
  near.same_host = {"b"};
  InstanceAnswer d = scheduler_->Create(near);
  ASSERT_TRUE(d.status.ok());
  EXPECT_EQ(d.host_name, b.host_name);
  near.name = "e";
  near.different_host = {"b"};
  InstanceAnswer none = scheduler_->Create(near);
  EXPECT_EQ(none.status.code(), StatusCode::kResourceExhausted);
  near.same_host = {"nobody"};
  EXPECT_EQ(scheduler_->Create(near).status.code(), StatusCode::kNotFound);
}

TEST_F(GroupsTest, DrainedHostsAreNotChosenAndSayWhy) {
  Start(2);
  ASSERT_TRUE(scheduler_->SetHostStatus("h0", false, "firmware").ok());
  for (int i = 0; i < 2; ++i) {
    InstanceAnswer answer = scheduler_->Create(Request("vm" + std::to_string(i)));
    ASSERT_TRUE(answer.status.ok());
    EXPECT_EQ(answer.host_name, "h1");
  }
  ASSERT_TRUE(scheduler_->SetHostStatus("h1", false, "").ok());
  InstanceAnswer none = scheduler_->Create(Request("vm2"));
  EXPECT_EQ(none.status.code(), StatusCode::kResourceExhausted);
  ASSERT_EQ(none.decision.refusals.size(), 2u);
  EXPECT_EQ(none.decision.refusals[0].reason.code, "compute_status");
  ASSERT_TRUE(scheduler_->SetHostStatus("h0", true, "").ok());
  EXPECT_EQ(scheduler_->Create(Request("vm3")).host_name, "h0");
  EXPECT_EQ(scheduler_->SetHostStatus("nobody", false, "").code(), StatusCode::kNotFound);
}

TEST_F(GroupsTest, AHostRestsAfterAFailureForLongerEachTime) {
  Start(2, "build_backoff: {first_seconds: 60, longest_seconds: 200}");
  InstanceAnswer vm = scheduler_->Create(Request("vm0"));
  ASSERT_TRUE(vm.status.ok());
  const std::string broken = vm.host_name;
  auto fail = [&](const Uuid& consumer) {
    placement_.ReportStatus(consumer, {placement::InstanceState::kFailed, "no disk", now_ms_});
  };
  auto next = [&, number = 1]() mutable {
    return scheduler_->Create(Request("vm" + std::to_string(number++)));
  };
  fail(vm.claim->consumer);
  EXPECT_NE(next().host_name, broken);
  now_ms_ += 59'999;
  EXPECT_NE(next().host_name, broken);
  now_ms_ += 1;
  ASSERT_TRUE(scheduler_->SetHostStatus(broken == "h0" ? "h1" : "h0", false, "").ok());
  InstanceAnswer again = next();
  ASSERT_EQ(again.host_name, broken);
  fail(again.claim->consumer);  // the second in a row: 120 seconds
  now_ms_ += 119'999;
  EXPECT_EQ(next().status.code(), StatusCode::kResourceExhausted);
  now_ms_ += 1;
  InstanceAnswer good = next();
  ASSERT_EQ(good.host_name, broken);
  placement_.ReportStatus(good.claim->consumer, {placement::InstanceState::kRunning, "", now_ms_});
  InstanceAnswer bad = next();
  fail(bad.claim->consumer);  // the first since one ran
  now_ms_ += 60'000;
  EXPECT_EQ(next().host_name, broken);
}

TEST_F(GroupsTest, WeighersOfTheConfigurationChooseAmongHosts) {
  Start(3, "weighers: {ram: 1.0}");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(scheduler_->Create(Request("vm" + std::to_string(i))).status.ok());
  EXPECT_EQ(Spread().size(), 3u);  // the emptiest each time; the built-in order would stack them
}

TEST_F(GroupsTest, LimitsOfInstancesAndZonesHoldOnTheCreatePath) {
  Start(3, R"(
max_instances_per_host: 1
aggregates:
  - {name: a, availability_zone: az1, hosts: [h0, h2]}
)");
  InstanceRequest request = Request("vm0");
  request.availability_zone = "az1";
  EXPECT_EQ(scheduler_->Create(request).host_name, "h0");
  request.name = "vm1";
  EXPECT_EQ(scheduler_->Create(request).host_name, "h2");
  request.name = "vm2";
  InstanceAnswer none = scheduler_->Create(request);
  EXPECT_EQ(none.status.code(), StatusCode::kResourceExhausted);
  std::map<std::string, std::string> codes;
  for (const Refusal& refusal : none.decision.refusals) codes[refusal.host_name] = refusal.reason.code;
  EXPECT_EQ(codes,
            (std::map<std::string, std::string>{
                {"h0", "instances_per_host"}, {"h1", "availability_zone"}, {"h2", "instances_per_host"}}));
}

// Several schedulers, each with a mirror that lags as it likes: no promise is broken.
TEST_F(GroupsTest, TwoHundredAndFiftySixParallelCreatesBreakNoPromise) {
  constexpr int kHosts = 300;
  constexpr int kSchedulers = 4;
  constexpr int kCreates = 256;
  Start(kHosts);
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (int i = 0; i < kSchedulers; ++i) {
    schedulers.push_back(
        std::make_unique<Scheduler>(TestCatalogue(), placement_, metrics_, [] { return uint64_t{1}; }));
  }
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kSchedulers; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kCreates; i += kSchedulers) {
        InstanceRequest request = Request("vm" + std::to_string(i));
        request.group = placement::ServerGroup{"g", ServerGroupPolicy::kAntiAffinity, 1};
        InstanceAnswer answer;
        // Each lost race is a decision of its own; a controller asks again.
        for (int tries = 0; tries < 64; ++tries) {
          answer = schedulers[static_cast<size_t>(t)]->Create(request);
          if (answer.status.code() != StatusCode::kAborted) break;
        }
        if (answer.status.ok()) ++made;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, kCreates);
  std::map<Uuid, int> per_host;
  for (const placement::Claim& claim : placement_.Claims()) ++per_host[claim.host];
  EXPECT_EQ(per_host.size(), static_cast<size_t>(kCreates));
  for (const auto& [host, count] : per_host) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace berth::scheduler
