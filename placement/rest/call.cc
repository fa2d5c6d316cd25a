#include "placement/rest/call.h"

#include <algorithm>

#include "placement/rest/text.h"

namespace berth::placement::rest {

http::Response EmptyAnswer(int status) {
  return {.status = status, .headers = {}, .body = {}};
}

void AddCacheHeaders(const Call& call, http::Response& response, uint64_t modified_ms) {
  if (!call.version.At(15)) return;
  uint64_t at = modified_ms == 0 ? call.now_ms : modified_ms;
  response.headers.Set("last-modified", http::FormatHttpDate(static_cast<int64_t>(at / 1000)));
  response.headers.Set("cache-control", "no-cache");
}

http::Response JsonAnswer(const Call& call, std::string body, uint64_t modified_ms, int status) {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.Set("content-type", "application/json");
  AddCacheHeaders(call, response, modified_ms);
  return response;
}

uint64_t ModifiedAt(const Call& call, uint64_t created_ms, uint64_t updated_ms) {
  uint64_t at = updated_ms != 0 ? updated_ms : created_ms;
  return at == 0 ? call.now_ms : at;
}

std::optional<ApiError> RequireJson(const Call& call) {
  std::string_view type = call.request.headers.Get("content-type");
  type = Strip(type.substr(0, type.find(';')));
  if (http::EqualsIgnoreCase(type, "application/json")) return std::nullopt;
  return ApiError{.status = 415,
                  .detail = "The media type " + (type.empty() ? "None" : std::string(type)) +
                            " is not supported, use application/json"};
}

tl::expected<JsonDocument, ApiError> ReadBody(const Call& call, const Schema& schema) {
  auto document = ParseJson(call.request.body);
  if (!document) return tl::unexpected(BadRequest("Malformed JSON: " + document.error()));
  std::string error = schema.Check(*document);
  if (!error.empty()) return tl::unexpected(BadRequest("JSON does not validate: " + error));
  return *std::move(document);
}

ProviderRef FindProviderInPath(const Call& call) {
  std::optional<Uuid> uuid = ParseUuidLike(call.path[0]);
  return uuid ? call.view->FindProvider(*uuid) : ProviderRef{};
}

std::string ProviderUrl(std::string_view prefix, const Uuid& uuid) {
  return std::string(prefix) + "/resource_providers/" + uuid.ToString();
}

}  // namespace berth::placement::rest
