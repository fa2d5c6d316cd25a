#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/http/message.h"
#include "placement/engine/command.h"
#include "placement/model/resource_view.h"
#include "placement/rest/api_error.h"
#include "placement/rest/identity.h"
#include "placement/rest/microversion.h"
#include "placement/rest/policy.h"
#include "placement/rest/query.h"

namespace berth::placement::rest {

// One request on its way to a handler, and what the handler may look at. Lives until the answer is sent.
struct Call {
  http::Request request;
  Microversion version;
  std::array<std::string, 2> path;  // what stands in the route's braces, decoded
  Query query;
  Identity identity;
  const Policy* policy = nullptr;
  std::string_view prefix;  // under which the service is mounted, "" or "/placement"
  std::shared_ptr<const ResourceView> view;
  uint64_t now_ms = 0;  // Unix time
};

// A change that is to be made, and the answer for when it is durable.
struct Write {
  decltype(Command::body) command;
  std::function<http::Response(const Outcome&)> answer;
};

// What a handler gives: the answer, a refusal, or a change.
using Answer = std::variant<http::Response, ApiError, Write>;
using RouteHandler = Answer (*)(const Call& call);

// --- what handlers have in common ---

// A JSON answer with the headers that 1.15 brought: Last-Modified (0: now) and Cache-Control.
http::Response JsonAnswer(const Call& call, std::string body, uint64_t modified_ms = 0, int status = 200);
// Without a body.
http::Response EmptyAnswer(int status);
void AddCacheHeaders(const Call& call, http::Response& response, uint64_t modified_ms);

// The later of a thing's creation and update; now for what has neither.
uint64_t ModifiedAt(const Call& call, uint64_t created_ms, uint64_t updated_ms);

// 415 unless the request says that its body is application/json.
std::optional<ApiError> RequireJson(const Call& call);

// The body as JSON that the schema allows.
tl::expected<JsonDocument, ApiError> ReadBody(const Call& call, const Schema& schema);

// The provider that the path names; empty: there is none.
ProviderRef FindProviderInPath(const Call& call);

std::string ProviderUrl(std::string_view prefix, const Uuid& uuid);

}  // namespace berth::placement::rest
