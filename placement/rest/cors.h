#pragma once

#include <string>
#include <vector>

#include "common/http/message.h"

namespace berth::placement::rest {

// Which web pages may use the API: nothing is said to browsers unless an origin is allowed.
struct CorsOptions {
  std::vector<std::string> allowed_origins = {};  // "https://dashboard.example.com", or "*"
  std::vector<std::string> allow_headers = {};    // beside the simple ones
  std::vector<std::string> allow_methods = {"OPTIONS", "GET", "PUT", "POST", "DELETE", "TRACE", "PATCH"};
  std::vector<std::string> expose_headers = {};
  bool allow_credentials = true;
  int max_age_s = 3600;  // 0: not said

  bool enabled() const { return !allowed_origins.empty(); }
};

// Adds what the origin of the request may know. The answer to an OPTIONS request (a preflight) becomes 200.
void ApplyCors(const CorsOptions& options, const http::Request& request, http::Response& response);

}  // namespace berth::placement::rest
