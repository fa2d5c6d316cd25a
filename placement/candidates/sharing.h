#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "placement/candidates/candidates.h"
#include "placement/candidates/resolve.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

// The sharing providers (MISC_SHARES_VIA_AGGREGATE) that could serve something of one request for trees other
// than their own. Found once for a request; most deployments have none.
class SharingProviders {
 public:
  SharingProviders(const ResourceView& view, const ResolvedRequest& request);

  size_t size() const { return places_.size(); }
  bool empty() const { return places_.empty(); }
  const ProviderPlace& place(uint32_t i) const { return places_[i]; }
  // Whether it may serve the slot, all but what concerns the anchor and the other slots.
  bool MayServe(uint32_t i, uint32_t slot) const { return serves_[i * slots_ + slot]; }
  // Whether any may.
  bool AnyServes(uint32_t slot) const { return any_[slot]; }

  // Those that share an aggregate with some provider of the tree and are not in it; ascending, each once.
  void Reaching(TreeSlot slot, const ProviderTree& tree, std::vector<uint32_t>& out) const;
  // All trees that some of them reach, beside others perhaps.
  void AddReachedTrees(const ResourceView& view, uint32_t slot, std::vector<uint64_t>& trees) const;

 private:
  size_t slots_;
  std::vector<ProviderPlace> places_;
  std::vector<bool> serves_;  // [provider][slot]
  std::vector<bool> any_;     // [slot]
  std::unordered_map<AggregateId, std::vector<uint32_t>> by_aggregate_;
};

}  // namespace berth::placement
