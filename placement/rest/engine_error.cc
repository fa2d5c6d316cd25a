#include "placement/rest/engine_error.h"

#include "placement/engine/refusal.h"

namespace berth::placement::rest {

ApiError ErrorOf(const Status& status) {
  std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal) {
    bool later = status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kUnavailable;
    ApiError error{.status = later ? 503 : 500, .detail = status.message()};
    if (later) error.headers.Set("retry-after", "1");
    return error;
  }
  switch (*refusal) {
    case Refusal::kBadRequest:
      return BadRequest(status.message());
    case Refusal::kProviderUnknown:
      return BadRequest(status.message(), kProviderNotFound);
    case Refusal::kNotFound:
      return NotFoundError(status.message());
    case Refusal::kConflict:
      return Conflict(status.message());
    case Refusal::kConcurrentUpdate:
      return Conflict(status.message(), kConcurrentUpdate);
    case Refusal::kDuplicateName:
      return Conflict(status.message(), kDuplicateName);
    case Refusal::kInventoryInUse:
      return Conflict(status.message(), kInventoryInUse);
    case Refusal::kProviderInUse:
      return Conflict(status.message(), kProviderInUse);
    case Refusal::kProviderIsParent:
      return Conflict(status.message(), kProviderCannotDeleteParent);
  }
  return {.status = 500, .detail = status.message()};
}

}  // namespace berth::placement::rest
