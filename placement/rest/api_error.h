#pragma once

#include <string>
#include <string_view>

#include "common/http/message.h"
#include "placement/rest/microversion.h"

namespace berth::placement::rest {

// Values of `code` in an error (1.23+). Clients compare them.
inline constexpr std::string_view kUndefinedCode = "placement.undefined_code";
inline constexpr std::string_view kInventoryInUse = "placement.inventory.inuse";
inline constexpr std::string_view kConcurrentUpdate = "placement.concurrent_update";
inline constexpr std::string_view kDuplicateName = "placement.duplicate_name";
inline constexpr std::string_view kProviderInUse = "placement.resource_provider.inuse";
inline constexpr std::string_view kProviderCannotDeleteParent =
    "placement.resource_provider.cannot_delete_parent";
inline constexpr std::string_view kProviderNotFound = "placement.resource_provider.not_found";
inline constexpr std::string_view kQueryDuplicateKey = "placement.query.duplicate_key";
inline constexpr std::string_view kQueryBadValue = "placement.query.bad_value";
inline constexpr std::string_view kQueryMissingValue = "placement.query.missing_value";

// A request that is refused. `detail` is what stands behind the sentence that belongs to the status.
struct ApiError {
  int status = 500;
  std::string detail = {};
  std::string_view code = kUndefinedCode;
  http::Headers headers = {};  // beside those of every answer
};

inline ApiError BadRequest(std::string detail, std::string_view code = kUndefinedCode) {
  return {.status = 400, .detail = std::move(detail), .code = code};
}
inline ApiError Forbidden(std::string_view rule) {
  return {.status = 403, .detail = "Policy does not allow " + std::string(rule) + " to be performed."};
}
inline ApiError NotFoundError(std::string detail) {
  return {.status = 404, .detail = std::move(detail)};
}
inline ApiError Conflict(std::string detail, std::string_view code = kUndefinedCode) {
  return {.status = 409, .detail = std::move(detail), .code = code};
}

// What an error's answer depends on beside the error.
struct ErrorContext {
  std::string_view method;
  std::string_view accept;                // as the client sent it
  std::string_view content_type;          // of the request
  const Microversion* version = nullptr;  // nullptr: not known yet (the header could not be understood)
  std::string_view request_id;
};

// As JSON, HTML or plain text, whichever `accept` prefers; JSON when it does not say.
http::Response RenderError(const ApiError& error, const ErrorContext& context);

// The answer to a request without a valid token. It is older than the API's form of errors and stays outside
// it.
http::Response RenderUnauthorized(const ErrorContext& context);

}  // namespace berth::placement::rest
