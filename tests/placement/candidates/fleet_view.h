#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "placement/candidates/candidates.h"
#include "placement/model/resource_draft.h"
#include "tests/placement/candidates/naive_candidates.h"

namespace berth::placement::testing {

// A naive fleet as the engine would publish it, and answers about it in the fleet's terms.
class FleetView {
 public:
  explicit FleetView(const NaiveFleet& fleet);

  const ResourceView& view() const { return draft_.view(); }
  // The fleet's index of a provider.
  int IndexOf(const ProviderPlace& place) const;
  // The root (by the fleet's index) that a candidate is for.
  int AnchorOf(const CandidatesAnswer::Candidate& candidate) const { return IndexOf({candidate.anchor, 0}); }
  NaiveCandidate Translate(const CandidatesRequest& request, const CandidatesAnswer& answer,
                           size_t candidate) const;

 private:
  ResourceDraft draft_;
  std::map<Uuid, int> index_;
};

}  // namespace berth::placement::testing
