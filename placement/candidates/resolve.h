#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/status.h"
#include "placement/candidates/request.h"
#include "placement/model/resource_view.h"

// Requests in the numbers of one view.
namespace berth::placement {

// The most things that one request may ask providers for: suffixed groups, and classes of the unnumbered one.
inline constexpr size_t kMaxCandidateSlots = 1024;

struct ResolvedAmount {
  ResourceClassId resource_class{};
  int64_t amount = 0;
  bool elsewhere = false;  // another slot asks for the class too, so that amounts may add up
};

struct ResolvedFilter {
  std::vector<std::vector<TraitId>> required;
  std::vector<TraitId> forbidden;
  std::vector<std::vector<AggregateId>> member_of;
  std::vector<AggregateId> forbidden_aggregates;
  std::optional<TreeSlot> in_tree;
  bool never = false;  // nothing can meet it: an unknown tree, or aggregates that nobody is in
};

// One thing that one provider is chosen for: a suffixed group, or one class of the unnumbered group.
struct CandidateSlot {
  uint32_t group = 0;  // its number in the request
  bool suffixed = true;
  std::vector<ResolvedAmount> resources;  // none: a group without resources
  std::vector<uint32_t> subtrees;         // the same_subtree sets that it is in
};

struct ResolvedRequest {
  std::vector<ResolvedFilter> filters;  // of each group
  std::vector<CandidateSlot> slots;
  std::vector<std::vector<uint32_t>> subtrees;  // slots of each same_subtree
  std::optional<uint32_t> unnumbered;           // the unnumbered group
  std::vector<TraitId> root_required;
  std::vector<TraitId> root_forbidden;
  bool isolate = false;
  bool nested_aware = true;
  bool never = false;  // some group can be served by nobody

  const ResolvedFilter& filter(const CandidateSlot& slot) const { return filters[slot.group]; }
};

Result<ResolvedRequest> Resolve(const ResourceView& view, const CandidatesRequest& request);
Result<ResolvedFilter> Resolve(const ResourceView& view, const ProviderFilter& filter);
// Each class once; an amount beyond all inventories becomes one that none has.
Result<std::vector<ResolvedAmount>> Resolve(const ResourceView& view,
                                            const std::vector<ResourceAmount>& resources);

}  // namespace berth::placement
