#include "placement/candidates/candidates.h"
#include "placement/rest/candidates_json.h"
#include "placement/rest/candidates_query.h"
#include "placement/rest/handlers.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
Answer GetAllocationCandidates(const Call& call) {
  if (auto valid = call.query.Check(CandidatesSchema(call.version)); !valid) return valid.error();
  auto request = ParseCandidatesQuery(call.query, call.version);
  if (!request) return request.error();
  Result<CandidatesAnswer> found = FindCandidates(*call.view, *request);
  if (!found) {
    const Status& status = found.error();
    // Out of range: it asks for more things at once than are looked for.
    if (status.code() != StatusCode::kInvalidArgument && status.code() != StatusCode::kOutOfRange)
      return ApiError{.status = 500, .detail = status.message()};
    if (status.field() == "resources") {
      return BadRequest("Invalid resource class in resources parameter: " + status.message());
    }
    return BadRequest(status.message());
  }
  http::Response response = JsonAnswer(call, CandidatesJson(*call.view, *request, *found, call.version));
  if (found->gave_up) response.headers.Set("x-berth-search-incomplete", "true");
  return response;
}

}  // namespace berth::placement::rest
