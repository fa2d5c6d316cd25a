#pragma once

#include <string>

#include "placement/candidates/candidates.h"
#include "placement/rest/microversion.h"

namespace berth::placement::rest {

// The body of GET /allocation_candidates. An answer of 1,000 candidates is 4 MB, most of it summaries, so
// this writes the text in one go, without a temporary string for each value.
std::string CandidatesJson(const ResourceView& view, const CandidatesRequest& request,
                           const CandidatesAnswer& found, Microversion version);

}  // namespace berth::placement::rest
