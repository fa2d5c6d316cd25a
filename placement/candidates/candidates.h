#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "placement/candidates/request.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

// A provider of a view, without holding on to it.
struct ProviderPlace {
  TreeSlot tree = 0;
  uint32_t provider = 0;

  friend auto operator<=>(const ProviderPlace&, const ProviderPlace&) = default;
};

// What a search found; places are those of the view that was searched. Flat, because an answer may have many
// thousand candidates.
struct CandidatesAnswer {
  struct Allocation {
    ProviderPlace provider;
    ResourceClassId resource_class{};
    int64_t amount = 0;
  };
  // The group, by its number in the request, is served by this provider.
  struct Mapping {
    uint32_t group = 0;
    ProviderPlace provider;
  };
  struct Candidate {
    TreeSlot anchor = 0;  // the tree that it is for
    // Where its lists end; they begin where those of the candidate before end.
    uint32_t allocations_end = 0;
    uint32_t mappings_end = 0;
  };

  std::vector<Candidate> candidates;
  std::vector<Allocation> allocations;  // of a candidate: ascending by provider, then class
  std::vector<Mapping> mappings;        // of a candidate: ascending by group, then provider
  std::vector<ProviderPlace>
      summaries;  // whole trees in preorder, in order of appearance; below 1.29 the givers only
  // The search was given up although there may be more: it costs or holds too much (max_steps, max_entries).
  bool gave_up = false;

  std::span<const Allocation> AllocationsOf(size_t candidate) const {
    const uint32_t begin = candidate == 0 ? 0 : candidates[candidate - 1].allocations_end;
    return {allocations.data() + begin, allocations.data() + candidates[candidate].allocations_end};
  }
  std::span<const Mapping> MappingsOf(size_t candidate) const {
    const uint32_t begin = candidate == 0 ? 0 : candidates[candidate - 1].mappings_end;
    return {mappings.data() + begin, mappings.data() + candidates[candidate].mappings_end};
  }
};

// Allocation candidates: docs/design/0003-allocation-candidates.md. Deterministic; the cost is bounded by the
// limit. Errors (kInvalidArgument): field "traits" with "No such trait(s): X.", field "resources" with "No
// such resource class X.", both as the API says them; "groups", "same_subtree" for what a caller should have
// refused.
Result<CandidatesAnswer> FindCandidates(const ResourceView& view, const CandidatesRequest& request);

// GET /resource_providers, in order of slots, within a tree in preorder. Errors as above.
Result<std::vector<ProviderPlace>> FindProviders(const ResourceView& view, const ProviderQuery& query);

}  // namespace berth::placement
