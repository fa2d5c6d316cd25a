#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "placement/candidates/request.h"

// The set of allocation candidates, written down as docs/design/0003-allocation-candidates.md defines it: all
// combinations are made and each is checked as a whole. Shares no code with the search. Only for small
// fleets.
namespace berth::placement::testing {

struct NaiveInventory {
  uint64_t total = 0;
  uint64_t reserved = 0;
  uint64_t min_unit = 1;
  uint64_t max_unit = INT32_MAX;
  uint64_t step_size = 1;
  double allocation_ratio = 1;
  uint64_t used = 0;
};

struct NaiveProvider {
  std::string name;
  int parent = -1;  // index in the fleet; -1: a root
  std::map<std::string, NaiveInventory> inventories;
  std::set<std::string> traits;
  std::set<Uuid> aggregates;
};

// The uuid of the provider with that index, and of an aggregate, in these tests.
Uuid ProviderUuid(int provider);
Uuid AggregateUuid(int number);

// Providers are named by their index; parents stand before their children, and each tree is contiguous.
struct NaiveFleet {
  std::vector<NaiveProvider> providers;

  int Root(int provider) const;
  bool IsAncestorOrSelf(int ancestor, int provider) const;
  bool Reaches(int provider, int anchor) const;
};

struct NaiveCandidate {
  std::map<std::pair<int, std::string>, uint64_t> amounts;  // (provider, class) -> amount
  std::map<std::string, std::set<int>> mappings;

  friend auto operator<=>(const NaiveCandidate&, const NaiveCandidate&) = default;
};

// Every candidate with the anchors that it is for.
std::map<NaiveCandidate, std::set<int>> NaiveCandidates(const NaiveFleet& fleet,
                                                        const CandidatesRequest& request);

// All providers of the trees that give something in `candidates`; below 1.29 only those that do.
std::set<int> NaiveSummaries(const NaiveFleet& fleet, const std::set<NaiveCandidate>& candidates,
                             bool nested_aware);

// GET /resource_providers.
std::set<int> NaiveProviders(const NaiveFleet& fleet, const ProviderQuery& query);

// For messages of failing tests.
std::string ToString(const NaiveFleet& fleet);
std::string ToString(const NaiveCandidate& candidate);
std::string ToString(const CandidatesRequest& request);

}  // namespace berth::placement::testing
