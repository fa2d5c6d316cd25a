// The rules of allocation candidates, one by one.
#include <gtest/gtest.h>

#include <functional>

#include "placement/candidates/resolve.h"
#include "tests/placement/candidates/fleet_builder.h"

namespace berth::placement::testing {
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kShares = "MISC_SHARES_VIA_AGGREGATE";
constexpr const char* kNuma = "HW_NUMA_ROOT";
constexpr const char* kSsd = "STORAGE_DISK_SSD";
constexpr const char* kAvx = "HW_CPU_X86_AVX2";

TEST(Candidates, TheUnnumberedGroupMayBeSpreadOverATree) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}});
  fleet.Child(host, {{"VCPU", 4}});
  fleet.Child(host, {{"VCPU", 4}, {"DISK_GB", 5}});
  fleet.Root({{"DISK_GB", 10}});  // has no VCPU

  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"VCPU", 1}, {"DISK_GB", 1}})})),
            (Texts{"=0,1", "=0,2", "=1,2", "=2"}));
}

TEST(Candidates, ASuffixedGroupComesFromOneProvider) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}});
  fleet.Child(host, {{"VCPU", 4}});
  fleet.Child(host, {{"VCPU", 4}, {"DISK_GB", 5}});

  EXPECT_EQ(fleet.Served(Request({Group("_A", {{"VCPU", 1}, {"DISK_GB", 1}})})), Texts{"_A=2"});
}

TEST(Candidates, RespectCapacityUnitsAndSteps) {
  Fleet fleet;
  const int host = fleet.Root({{"VCPU", 10}});
  NaiveInventory& inventory = fleet.Inventory(host, "VCPU");
  inventory.reserved = 2;
  inventory.allocation_ratio = 1.5;  // (10 - 2) x 1.5 = 12
  inventory.used = 4;
  inventory.min_unit = 2;
  inventory.max_unit = 20;
  inventory.step_size = 2;
  const auto fits = [&](uint64_t amount) {
    return !fleet.Ask(Request({Unnumbered({{"VCPU", amount}})})).empty();
  };

  EXPECT_TRUE(fits(8));
  EXPECT_FALSE(fits(10));  // beyond the capacity
  EXPECT_FALSE(fits(3));   // not a multiple of step_size
  EXPECT_FALSE(fits(UINT64_MAX));
  inventory.max_unit = 6;
  EXPECT_TRUE(fits(6));
  EXPECT_FALSE(fits(8));
  inventory.min_unit = 6;
  EXPECT_FALSE(fits(4));
}

TEST(Candidates, AmountsOfSeveralGroupsOnOneProviderAddUp) {
  Fleet fleet;
  const int host = fleet.Root({});
  fleet.Child(host, {{"VCPU", 5}});
  fleet.Child(host, {{"VCPU", 8}});
  const CandidatesRequest request = Request({Group("_A", {{"VCPU", 3}}), Group("_B", {{"VCPU", 3}})});

  EXPECT_EQ(fleet.Served(request), (Texts{"_A=1 _B=2", "_A=2 _B=1", "_A=2 _B=2"}));
  fleet.Inventory(2, "VCPU").max_unit = 4;  // of the sum, too
  EXPECT_EQ(fleet.Served(request), (Texts{"_A=1 _B=2", "_A=2 _B=1"}));
}

// Section 7, 1: Placement 13.0.0 also answers with 6, 10 or 14 VCPUs here when the policy is not "none".
TEST(Candidates, NobodyGetsAmountsThatNobodyAskedFor) {
  Fleet fleet;
  const int host = fleet.Root({{"VCPU", 64}});
  fleet.Child(host, {{"VCPU", 64}});
  for (const GroupPolicy policy : {GroupPolicy::kNone, GroupPolicy::kIsolate}) {
    const auto candidates =
        fleet.Ask(Request({Unnumbered({{"VCPU", 2}}), Group("_A", {{"VCPU", 4}})}, policy));

    EXPECT_EQ(candidates.size(), 4U);
    for (const NaiveCandidate& candidate : candidates) {
      uint64_t sum = 0;
      for (const auto& [where, amount] : candidate.amounts) sum += amount;
      EXPECT_EQ(sum, 6U) << ToString(candidate);
    }
  }
}

// Section 7, 2: Placement answers 500.
TEST(Candidates, ASharingProviderNeedNotBeARoot) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {}, {1});
  const int storage = fleet.Root({});
  fleet.Child(storage, {{"DISK_GB", 100}}, {kShares}, {1});
  const CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}, {"DISK_GB", 10}})});

  EXPECT_EQ(fleet.Served(request), Texts{"=0,2"});
  EXPECT_EQ(fleet.Summaries(request), (std::set<int>{0, 1, 2}));
}

// Section 7, 3: PostgreSQL 500; elsewhere the filter did nothing and a slow check had to do it.
TEST(Candidates, NoProviderOfTheUnnumberedGroupHasAForbiddenTrait) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}}, {kAvx});
  fleet.Child(host, {{"VCPU", 4}}, {kSsd});
  fleet.Child(host, {{"VCPU", 4}});
  const std::vector<ResourceAmount> both{{"VCPU", 1}, {"DISK_GB", 1}};

  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, Forbidden({kSsd}))})), Texts{"=0,2"});
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, Forbidden({kAvx}))})), Texts{});
  // The root has it, but gives nothing.
  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"VCPU", 1}}, Forbidden({kAvx}))})), (Texts{"=1", "=2"}));
}

// Section 7, 7: Placement gave 3, 3, 2 and 0 candidates, and others in the next process.
TEST(Candidates, ALimitShowsAsManyHostsAsPossibleAndAlwaysTheSame) {
  Fleet fleet;
  for (int i = 0; i < 4; ++i) {
    const int host = fleet.Root({});
    for (int cell = 0; cell < 4; ++cell) fleet.Child(host, {{"VCPU", 4}});
  }
  CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}})});
  request.limit = 8;

  const auto candidates = fleet.Ask(request);

  std::map<int, int> per_host;
  for (const NaiveCandidate& candidate : candidates)
    ++per_host[candidate.amounts.begin()->first.first / 5 * 5];
  EXPECT_EQ(per_host, (std::map<int, int>{{0, 2}, {5, 2}, {10, 2}, {15, 2}}));
  EXPECT_EQ(fleet.Ask(request), candidates);
}

TEST(Candidates, FirstTreeTurnsTheOrder) {
  Fleet fleet;
  for (int i = 0; i < 3; ++i) fleet.Root({{"VCPU", 4}});
  CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}})});
  request.limit = 1;
  for (int first = 0; first < 6; ++first) {
    request.first_tree = static_cast<uint64_t>(first);
    EXPECT_EQ(fleet.Served(request), Texts{"=" + std::to_string(first % 3)});
  }
}

TEST(Candidates, RequiredTraitsOfTheUnnumberedGroupAreMetTogether) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}}, {kSsd});
  fleet.Child(host, {{"VCPU", 4}}, {kAvx});
  fleet.Child(host, {{"VCPU", 4}});
  const std::vector<ResourceAmount> both{{"VCPU", 1}, {"DISK_GB", 1}};

  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, Required({{kSsd}, {kAvx}}))})), Texts{"=0,1"});
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, Required({{kSsd, kNuma}}))})), (Texts{"=0,1", "=0,2"}));
  // The trait of a provider that gives nothing does not count.
  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"VCPU", 1}}, Required({{kSsd}}))})), Texts{});
}

TEST(Candidates, TraitsOfASuffixedGroupAreThoseOfItsProvider) {
  Fleet fleet;
  const int host = fleet.Root({}, {kSsd});
  fleet.Child(host, {{"VCPU", 4}}, {kNuma, kAvx});
  fleet.Child(host, {{"VCPU", 4}}, {kNuma});
  const auto served = [&](const ProviderFilter& filter) {
    return fleet.Served(Request({Group("_A", {{"VCPU", 1}}, filter)}));
  };

  EXPECT_EQ(served(Required({{kNuma}})), (Texts{"_A=1", "_A=2"}));
  EXPECT_EQ(served(Required({{kNuma}, {kAvx}})), Texts{"_A=1"});
  EXPECT_EQ(served(Required({{kSsd, kAvx}})), Texts{"_A=1"});
  EXPECT_EQ(served(Required({{kSsd}})), Texts{});
  EXPECT_EQ(served(Forbidden({kAvx})), Texts{"_A=2"});
}

TEST(Candidates, MemberOfCountsTheRootForTheUnnumberedGroupOnly) {
  Fleet fleet;
  const int host = fleet.Root({}, {}, {1});
  fleet.Child(host, {{"VCPU", 4}}, {}, {2});
  fleet.Child(host, {{"VCPU", 4}});
  const auto unnumbered = [&](const ProviderFilter& filter) {
    return fleet.Served(Request({Unnumbered({{"VCPU", 1}}, filter)}));
  };

  EXPECT_EQ(unnumbered(MemberOf({{1}})), (Texts{"=1", "=2"}));
  EXPECT_EQ(unnumbered(MemberOf({{2}})), Texts{"=1"});
  EXPECT_EQ(unnumbered(MemberOf({{1, 2}})), (Texts{"=1", "=2"}));
  EXPECT_EQ(unnumbered(MemberOf({{1}, {2}})), Texts{});  // neither has both
  EXPECT_EQ(unnumbered(MemberOf({{3}})), Texts{});
  EXPECT_EQ(unnumbered(NotMemberOf(2)), Texts{"=2"});
  EXPECT_EQ(unnumbered(NotMemberOf(1)), Texts{});
  EXPECT_EQ(unnumbered(NotMemberOf(3)), (Texts{"=1", "=2"}));
  EXPECT_EQ(fleet.Served(Request({Group("_A", {{"VCPU", 1}}, MemberOf({{1}}))})), Texts{});
  EXPECT_EQ(fleet.Served(Request({Group("_A", {{"VCPU", 1}}, MemberOf({{2}}))})), Texts{"_A=1"});
  EXPECT_EQ(fleet.Served(Request({Group("_A", {{"VCPU", 1}}, NotMemberOf(1))})), (Texts{"_A=1", "_A=2"}));
}

TEST(Candidates, InTreeNamesTheWholeTreeAndExcludesSharingProviders) {
  Fleet fleet;
  const int host = fleet.Root({{"VCPU", 4}}, {}, {1});
  const int cell = fleet.Child(host, {{"DISK_GB", 10}});
  fleet.Root({{"VCPU", 4}}, {}, {1});
  const int share = fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});
  const std::vector<ResourceAmount> both{{"VCPU", 1}, {"DISK_GB", 1}};

  EXPECT_EQ(fleet.Served(Request({Unnumbered(both)})), (Texts{"=0,1", "=0,3", "=2,3"}));
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, InTree(cell))})), Texts{"=0,1"});
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, InTree(2))})), Texts{});
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, InTree(77))})), Texts{});  // nobody has this uuid
  // A suffixed group may be told to take from the sharing provider's tree, for another anchor.
  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"VCPU", 1}}), Group("_D", {{"DISK_GB", 1}}, InTree(share))})),
            (Texts{"=0 _D=3", "=2 _D=3"}));
}

TEST(Candidates, RootRequiredLooksAtTheAnchorNotAtTheSharingProvider) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {kAvx}, {1});
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});
  CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}, {"DISK_GB", 1}})});

  request.root_required = {kAvx};
  EXPECT_EQ(fleet.Served(request), Texts{"=0,2"});
  request.root_required.clear();
  request.root_forbidden = {kAvx};
  EXPECT_EQ(fleet.Served(request), Texts{"=1,2"});
}

TEST(Candidates, WhatOnlySharingProvidersGiveCountsOnce) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});
  const CandidatesRequest request = Request({Unnumbered({{"DISK_GB", 1}})});

  EXPECT_EQ(fleet.Served(request), Texts{"=2"});
  EXPECT_EQ(fleet.Summaries(request), std::set<int>{2});
}

TEST(Candidates, ASharingProviderServesASuffixedGroupWhole) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"DISK_GB", 10}, {"VCPU", 1}}, {kShares}, {1});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {2});  // shares with nobody
  const CandidatesRequest request = Request({Group("_C", {{"VCPU", 2}}), Group("_D", {{"DISK_GB", 1}})});

  EXPECT_EQ(fleet.Served(request), Texts{"_C=0 _D=1"});
  EXPECT_EQ(fleet.Summaries(request), (std::set<int>{0, 1}));
}

// Placement keeps such a group for one of the hosts only, since it takes the group's answers for one and the
// same.
TEST(Candidates, AGroupThatOnlySharingProvidersServeIsThereForEveryHost) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"VCPU", 4}}, {}, {1});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});

  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"DISK_GB", 1}}), Group("_C", {{"VCPU", 1}})})),
            (Texts{"=2 _C=0", "=2 _C=1"}));
}

TEST(Candidates, AnAggregateOfAnyProviderConnectsATreeToASharingProvider) {
  Fleet fleet;
  const int host = fleet.Root({{"VCPU", 4}});
  fleet.Child(host, {}, {}, {1});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});

  EXPECT_EQ(fleet.Served(Request({Unnumbered({{"VCPU", 1}, {"DISK_GB", 1}})})), Texts{"=0,2"});
}

TEST(Candidates, MemberOfOfASharingProviderIsItsOwn) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}}, {}, {1, 2});
  fleet.Root({{"DISK_GB", 10}}, {kShares}, {1});
  const std::vector<ResourceAmount> both{{"VCPU", 1}, {"DISK_GB", 1}};

  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, MemberOf({{1}}))})), Texts{"=0,1"});
  EXPECT_EQ(fleet.Served(Request({Unnumbered(both, MemberOf({{2}}))})), Texts{});
}

TEST(Candidates, IsolateKeepsSuffixedGroupsApartButNotTheUnnumbered) {
  Fleet fleet;
  const int host = fleet.Root({});
  fleet.Child(host, {{"VCPU", 9}});
  fleet.Child(host, {{"VCPU", 9}});
  const std::vector<RequestGroup> groups{Unnumbered({{"VCPU", 1}}), Group("_A", {{"VCPU", 1}}),
                                         Group("_B", {{"VCPU", 1}})};

  EXPECT_EQ(fleet.Served(Request(groups, GroupPolicy::kIsolate)),
            (Texts{"=1 _A=1 _B=2", "=1 _A=2 _B=1", "=2 _A=1 _B=2", "=2 _A=2 _B=1"}));
  EXPECT_EQ(fleet.Served(Request(groups)).size(), 8U);
}

TEST(Candidates, SameSubtreeNeedsOneOfTheProvidersAboveTheOthers) {
  Fleet fleet;
  const int host = fleet.Root({});
  const int left = fleet.Child(host, {{"VCPU", 4}}, {kNuma});
  const int right = fleet.Child(host, {{"VCPU", 4}}, {kNuma});
  fleet.Child(left, {{"SRIOV_NET_VF", 4}});
  fleet.Child(right, {{"SRIOV_NET_VF", 4}});
  CandidatesRequest request = Request({Group("_N", {{"VCPU", 1}}), Group("_P", {{"SRIOV_NET_VF", 1}})});
  request.same_subtrees = {{"_N", "_P"}};

  EXPECT_EQ(fleet.Served(request), (Texts{"_N=1 _P=3", "_N=2 _P=4"}));

  // Two ports below one cell: the cell is above both, though neither port is above the other.
  request.groups.push_back(Group("_Q", {{"SRIOV_NET_VF", 1}}));
  request.same_subtrees = {{"_N", "_P", "_Q"}};
  EXPECT_EQ(fleet.Served(request), (Texts{"_N=1 _P=3 _Q=3", "_N=2 _P=4 _Q=4"}));
  request.same_subtrees = {{"_P", "_Q"}};
  EXPECT_EQ(fleet.Served(request).size(), 4U);  // 3,3 and 4,4, each with either cell
}

TEST(Candidates, AGroupWithoutResourcesAppearsInTheMappingsOnly) {
  Fleet fleet;
  const int host = fleet.Root({});
  const int left = fleet.Child(host, {}, {kNuma});
  const int right = fleet.Child(host, {}, {kNuma});
  fleet.Child(left, {{"SRIOV_NET_VF", 1}});
  fleet.Child(right, {{"SRIOV_NET_VF", 1}});
  CandidatesRequest request =
      Request({Group("_P", {{"SRIOV_NET_VF", 1}}), Group("_N", {}, Required({{kNuma}}))});
  request.same_subtrees = {{"_P", "_N"}};

  EXPECT_EQ(fleet.Served(request), (Texts{"_N=1 _P=3", "_N=2 _P=4"}));
  for (const NaiveCandidate& candidate : fleet.Ask(request)) EXPECT_EQ(candidate.amounts.size(), 1U);

  // It counts for isolate like any other group.
  request = Request({Group("_P", {{"SRIOV_NET_VF", 1}}), Group("_N", {}, Forbidden({kNuma}))},
                    GroupPolicy::kIsolate);
  request.same_subtrees = {{"_P", "_N"}};
  EXPECT_EQ(fleet.Served(request), (Texts{"_N=0 _P=3", "_N=0 _P=4"}));
}

TEST(Candidates, OldClientsSeeOneProviderOfATree) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}, {"VCPU", 2}});
  fleet.Child(host, {{"VCPU", 4}});
  CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}, {"DISK_GB", 1}})});
  request.nested_aware = false;

  EXPECT_EQ(fleet.Served(request), Texts{"=0"});
  EXPECT_EQ(fleet.Summaries(request), std::set<int>{0});
}

TEST(Candidates, SummariesHoldWholeTreesOfThoseWhoGive) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}});
  fleet.Child(host, {{"VCPU", 4}});
  fleet.Child(host, {});
  fleet.Root({});

  EXPECT_EQ(fleet.Summaries(Request({Unnumbered({{"VCPU", 1}})})), (std::set<int>{0, 1, 2}));
}

TEST(Candidates, UnknownNamesAreErrorsThatNameThem) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}});

  const Status trait = fleet.Error(Request({Unnumbered({{"VCPU", 1}}, Required({{"CUSTOM_NO"}}))}));
  EXPECT_EQ(trait, InvalidArgument("No such trait(s): CUSTOM_NO.", "traits"));
  const Status resource = fleet.Error(Request({Unnumbered({{"CUSTOM_NO", 1}})}));
  EXPECT_EQ(resource, InvalidArgument("No such resource class CUSTOM_NO.", "resources"));
  CandidatesRequest root = Request({Unnumbered({{"VCPU", 1}})});
  root.root_required = {"CUSTOM_NO"};
  EXPECT_EQ(fleet.Error(root).field(), "traits");
}

TEST(Candidates, WhatACallerShouldHaveRefusedIsRefused) {
  Fleet fleet;
  fleet.Root({{"VCPU", 4}});

  EXPECT_EQ(fleet.Error(Request({})).field(), "groups");
  EXPECT_EQ(fleet.Error(Request({Group("_A", {})})).field(), "groups");
  EXPECT_EQ(fleet.Error(Request({Group("_A", {{"VCPU", 1}}), Group("_A", {{"VCPU", 1}})})).field(), "groups");
  CandidatesRequest request = Request({Group("_A", {{"VCPU", 1}})});
  request.same_subtrees = {{"_A", "_B"}};
  EXPECT_EQ(fleet.Error(request).field(), "same_subtree");
  request = Request({});
  for (size_t i = 0; i <= kMaxCandidateSlots; ++i)
    request.groups.push_back(Group("_" + std::to_string(i), {{"VCPU", 1}}));
  EXPECT_EQ(fleet.Error(request).code(), StatusCode::kOutOfRange);
}

// Without pruning these would take 8! to 12^12 steps; the budget of steps shows that they do not.
TEST(Candidates, EqualDevicesFailOnlyOnce) {
  Fleet fleet;
  const int host = fleet.Root({});
  const int left = fleet.Child(host, {}, {kNuma});
  for (int i = 0; i < 12; ++i) fleet.Child(left, {{"PGPU", 1}});
  fleet.Child(host, {{"VCPU", 1}});
  std::vector<RequestGroup> groups;
  std::vector<std::string> suffixes;
  for (int i = 0; i < 12; ++i) {
    suffixes.push_back("_G" + std::to_string(i));
    groups.push_back(Group(suffixes.back(), {{"PGPU", 1}}));
  }
  groups.push_back(Group("_V", {{"VCPU", 1}}));
  suffixes.emplace_back("_V");
  CandidatesRequest request = Request(groups, GroupPolicy::kIsolate);
  request.max_steps = 20'000;
  request.limit = 1;
  EXPECT_EQ(fleet.Ask(request).size(), 1U);

  request.same_subtrees = {suffixes};  // the VCPU is on the other side
  const FleetView view(fleet.naive());
  Result<CandidatesAnswer> answer = FindCandidates(view.view(), request);
  EXPECT_TRUE(answer->candidates.empty());
  EXPECT_FALSE(answer->gave_up);

  request.same_subtrees.clear();
  for (const GroupPolicy policy : {GroupPolicy::kNone, GroupPolicy::kIsolate}) {  // one device too few
    request.group_policy = policy;
    request.groups.push_back(Group("_H" + std::to_string(request.groups.size()), {{"PGPU", 1}}));
    answer = FindCandidates(view.view(), request);
    EXPECT_TRUE(answer->candidates.empty());
    EXPECT_FALSE(answer->gave_up);
  }
}

TEST(Candidates, GivesUpWhenTheStepsAreUsedUp) {
  Fleet fleet;
  const int host = fleet.Root({});
  for (int i = 0; i < 10; ++i) fleet.Child(host, {{"VCPU", 4U + static_cast<uint64_t>(i)}});
  CandidatesRequest request = Request({});
  for (int i = 0; i < 10; ++i) request.groups.push_back(Group("_" + std::to_string(i), {{"VCPU", 3}}));
  request.limit = 5;
  request.max_steps = 5;

  const FleetView view(fleet.naive());
  const Result<CandidatesAnswer> answer = FindCandidates(view.view(), request);

  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->gave_up);
}

TEST(Candidates, AnAnswerHoldsOnlySoMuch) {
  Fleet fleet;
  for (int i = 0; i < 10; ++i) fleet.Root({{"VCPU", 1}});
  CandidatesRequest request = Request({Unnumbered({{"VCPU", 1}})});
  const FleetView view(fleet.naive());
  request.max_entries = 20;  // an allocation and a mapping each: all
  Result<CandidatesAnswer> answer = FindCandidates(view.view(), request);
  EXPECT_EQ(answer->candidates.size(), 10U);
  EXPECT_FALSE(answer->gave_up);

  request.max_entries = 12;
  answer = FindCandidates(view.view(), request);
  EXPECT_EQ(answer->candidates.size(), 6U);
  EXPECT_TRUE(answer->gave_up);
}

TEST(Providers, AreFoundByWhatTheyThemselvesHave) {
  Fleet fleet;
  const int host = fleet.Root({{"DISK_GB", 10}}, {kSsd}, {1});
  const int cell = fleet.Child(host, {{"VCPU", 4}}, {kNuma}, {2});
  const int other = fleet.Root({{"VCPU", 4}});
  const FleetView view(fleet.naive());
  const auto found = [&](const std::function<void(ProviderQuery&)>& set) {
    ProviderQuery query;
    set(query);
    const auto places = FindProviders(view.view(), query);
    std::vector<int> numbers;
    for (const ProviderPlace& place : *places) numbers.push_back(view.IndexOf(place));
    return numbers;
  };

  EXPECT_EQ(found([](auto&) {}), (std::vector<int>{host, cell, other}));
  EXPECT_EQ(found([&](auto& q) { q.resources = {{"VCPU", 4}}; }), (std::vector<int>{cell, other}));
  EXPECT_EQ(found([&](auto& q) { q.resources = {{"VCPU", 5}}; }), std::vector<int>{});
  EXPECT_EQ(found([&](auto& q) { q.filter = InTree(cell); }), (std::vector<int>{host, cell}));
  EXPECT_EQ(found([&](auto& q) { q.filter = MemberOf({{1}}); }),
            std::vector<int>{host});  // not the whole tree
  EXPECT_EQ(found([&](auto& q) { q.filter = NotMemberOf(2); }), (std::vector<int>{host, other}));
  EXPECT_EQ(found([&](auto& q) { q.filter = Required({{kSsd, kNuma}}); }), (std::vector<int>{host, cell}));
  EXPECT_EQ(found([&](auto& q) { q.filter = Forbidden({kNuma}); }), (std::vector<int>{host, other}));
  EXPECT_EQ(found([&](auto& q) { q.uuid = ProviderUuid(cell); }), std::vector<int>{cell});
  EXPECT_EQ(found([&](auto& q) { q.name = "provider-1002"; }), std::vector<int>{other});
  EXPECT_EQ(found([&](auto& q) { q.name = "nobody"; }), std::vector<int>{});
}

}  // namespace
}  // namespace berth::placement::testing
