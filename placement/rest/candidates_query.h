#pragma once

#include <tl/expected.hpp>

#include "placement/candidates/request.h"
#include "placement/rest/api_error.h"
#include "placement/rest/query.h"

namespace berth::placement::rest {

// The query of GET /allocation_candidates, which has passed CandidatesSchema, as a request; all rules of form
// and of the microversion are checked, what exists is not.
tl::expected<CandidatesRequest, ApiError> ParseCandidatesQuery(const Query& query, Microversion version);

}  // namespace berth::placement::rest
