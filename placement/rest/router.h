#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "placement/rest/call.h"

namespace berth::placement::rest {

// One method of one path. What holds for many handlers is said here and checked before they are called.
struct Route {
  std::string_view method;
  std::string_view path;  // "/resource_providers/{uuid}/inventories"
  RouteHandler handler = nullptr;
  std::string_view rule = {};  // of the policy; "": everybody
  int since = 0;               // minor version that brought it
  int missing_status = 404;    // below that version
  bool json_out = false;       // 406 unless the client takes application/json
  bool json_in = false;        // 415 unless the body is application/json
  bool media_first = false;    // those two come before the version
};

std::span<const Route> Routes();

struct RouteMatch {
  const Route* route = nullptr;      // nullptr: no such path, or not that method
  std::string_view path = {};        // of the table; "": no such path
  std::string allow = {};            // methods of the path: "GET, PUT"
  std::array<std::string, 2> parts;  // what the braces stand for
};
// `path`: decoded, without the prefix.
RouteMatch MatchRoute(std::string_view method, std::string_view path);

}  // namespace berth::placement::rest
