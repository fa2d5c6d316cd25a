#include "placement/rest/cors.h"

#include <algorithm>

#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// "": not allowed; else what to answer.
std::string AllowedOrigin(const CorsOptions& options, std::string_view origin) {
  const auto& all = options.allowed_origins;
  if (std::find(all.begin(), all.end(), origin) != all.end()) return std::string(origin);
  return std::find(all.begin(), all.end(), "*") != all.end() ? "*" : "";
}

bool Contains(const std::vector<std::string>& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& item) { return http::EqualsIgnoreCase(item, name); });
}

void AllowOrigin(const CorsOptions& options, std::string origin, http::Response& response) {
  response.headers.Set("access-control-allow-origin", std::move(origin));
  if (options.allow_credentials) response.headers.Set("access-control-allow-credentials", "true");
}

void ApplyPreflight(const CorsOptions& options, const http::Request& request, http::Response& response) {
  if (response.status < 200 || response.status >= 300) response = {.status = 200, .headers = {}, .body = {}};
  std::string origin = AllowedOrigin(options, request.headers.Get("origin"));
  std::string_view method = request.headers.Get("access-control-request-method");
  if (origin.empty() || method.empty() || !Contains(options.allow_methods, method)) return;
  static const std::vector<std::string> kSimple = {
      "Accept",           "Accept-Language", "Content-Type",  "Cache-Control",
      "Content-Language", "Expires",         "Last-Modified", "Pragma"};
  std::vector<std::string> asked;
  for (std::string_view part : Split(request.headers.Get("access-control-request-headers"), ',')) {
    std::string_view name = Strip(part);
    if (name.empty()) continue;
    if (!Contains(options.allow_headers, name) && !Contains(kSimple, name)) return;
    asked.emplace_back(name);
  }
  AllowOrigin(options, std::move(origin), response);
  response.headers.Set("vary", "Origin");
  if (options.max_age_s > 0) {
    response.headers.Set("access-control-max-age", std::to_string(options.max_age_s));
  }
  response.headers.Set("access-control-allow-methods", std::string(method));
  if (!asked.empty()) response.headers.Set("access-control-allow-headers", Join(asked, ","));
}

}  // namespace

void ApplyCors(const CorsOptions& options, const http::Request& request, http::Response& response) {
  if (!options.enabled()) return;
  if (request.method == "OPTIONS") return ApplyPreflight(options, request, response);
  std::string_view from = request.headers.Get("origin");
  if (from.empty()) return;
  std::string origin = AllowedOrigin(options, from);
  if (origin.empty()) return;
  AllowOrigin(options, std::move(origin), response);
  std::string_view vary = response.headers.Get("vary");
  response.headers.Set("vary", vary.empty() ? "Origin" : std::string(vary) + ", Origin");
  if (!options.expose_headers.empty()) {
    response.headers.Set("access-control-expose-headers", Join(options.expose_headers, ","));
  }
}

}  // namespace berth::placement::rest
