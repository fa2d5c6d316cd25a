#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/placement/candidates/fleet_view.h"

namespace berth::placement::testing {

// Builds fleets and requests that read like the domain:
//   Fleet fleet;
//   const int host = fleet.Root({{"DISK_GB", 100}});
//   const int cell = fleet.Child(host, {{"VCPU", 4}}, {"HW_NUMA_ROOT"});
//   EXPECT_EQ(fleet.All(Request({Unnumbered({{"VCPU", 1}})})), Set({...}));
class Fleet {
 public:
  using Classes = std::map<std::string, uint64_t>;

  int Root(const Classes& classes, const std::set<std::string>& traits = {},
           const std::set<int>& aggregates = {}) {
    return Child(-1, classes, traits, aggregates);
  }
  int Child(int parent, const Classes& classes, const std::set<std::string>& traits = {},
            const std::set<int>& aggregates = {}) {
    NaiveProvider provider;
    provider.name = "provider-" + std::to_string(1000 + naive_.providers.size());
    provider.parent = parent;
    for (const auto& [name, total] : classes) {
      provider.inventories[name].total = provider.inventories[name].max_unit = total;
    }
    provider.traits = traits;
    for (int number : aggregates) provider.aggregates.insert(AggregateUuid(number));
    naive_.providers.push_back(std::move(provider));
    return static_cast<int>(naive_.providers.size()) - 1;
  }
  NaiveInventory& Inventory(int provider, const std::string& name) {
    return naive_.providers[provider].inventories.at(name);
  }
  const NaiveFleet& naive() const { return naive_; }

  // The candidates in order.
  std::vector<NaiveCandidate> Ask(const CandidatesRequest& request) const {
    const FleetView fleet(naive_);
    const Result<CandidatesAnswer> answer = FindCandidates(fleet.view(), request);
    EXPECT_TRUE(answer.has_value()) << answer.status().ToString();
    std::vector<NaiveCandidate> candidates;
    for (size_t i = 0; answer && i < answer->candidates.size(); ++i) {
      candidates.push_back(fleet.Translate(request, *answer, i));
    }
    return candidates;
  }
  // Who serves each suffix, one text a candidate, sorted: "=1,2 _A=3" (the unnumbered group first).
  std::vector<std::string> Served(const CandidatesRequest& request) const {
    std::vector<std::string> texts;
    for (const NaiveCandidate& candidate : Ask(request)) {
      std::string text;
      for (const auto& [suffix, providers] : candidate.mappings) {
        text += (text.empty() ? "" : " ") + suffix + "=";
        for (int provider : providers) text += (text.back() == '=' ? "" : ",") + std::to_string(provider);
      }
      texts.push_back(std::move(text));
    }
    std::ranges::sort(texts);
    return texts;
  }
  std::set<int> Summaries(const CandidatesRequest& request) const {
    const FleetView fleet(naive_);
    const Result<CandidatesAnswer> answer = FindCandidates(fleet.view(), request);
    std::set<int> providers;
    for (const ProviderPlace& place : answer->summaries) providers.insert(fleet.IndexOf(place));
    return providers;
  }
  Status Error(const CandidatesRequest& request) const {
    return FindCandidates(FleetView(naive_).view(), request).status();
  }

 private:
  NaiveFleet naive_;
};

inline RequestGroup Group(std::string suffix, std::vector<ResourceAmount> resources,
                          ProviderFilter filter = {}) {
  return {std::move(suffix), std::move(resources), std::move(filter)};
}

inline RequestGroup Unnumbered(std::vector<ResourceAmount> resources, ProviderFilter filter = {}) {
  return Group("", std::move(resources), std::move(filter));
}

inline ProviderFilter Required(std::vector<std::vector<std::string>> traits) {
  ProviderFilter filter;
  filter.required_traits = std::move(traits);
  return filter;
}

inline ProviderFilter Forbidden(std::vector<std::string> traits) {
  ProviderFilter filter;
  filter.forbidden_traits = std::move(traits);
  return filter;
}

inline ProviderFilter MemberOf(std::vector<std::vector<int>> aggregates) {
  ProviderFilter filter;
  for (const auto& any : aggregates) {
    filter.member_of.emplace_back();
    for (int number : any) filter.member_of.back().push_back(AggregateUuid(number));
  }
  return filter;
}

inline ProviderFilter NotMemberOf(int aggregate) {
  ProviderFilter filter;
  filter.forbidden_aggregates.push_back(AggregateUuid(aggregate));
  return filter;
}

inline ProviderFilter InTree(int provider) {
  ProviderFilter filter;
  filter.in_tree = ProviderUuid(provider);
  return filter;
}

inline CandidatesRequest Request(std::vector<RequestGroup> groups, GroupPolicy policy = GroupPolicy::kNone) {
  CandidatesRequest request;
  request.groups = std::move(groups);
  request.group_policy = policy;
  return request;
}

}  // namespace berth::placement::testing
