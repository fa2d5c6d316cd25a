// Request lines: "METHOD minor-version target", the rest is the body.
#include <algorithm>
#include <cstdint>
#include <string>

#include "tests/fuzz/rest_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using berth::placement::rest::Api;
  static berth::placement::rest::RestTarget target_service;
  std::string text(reinterpret_cast<const char*>(data), size);
  size_t line = std::min(text.find('\n'), text.size());
  std::string head = text.substr(0, line), body = line < text.size() ? text.substr(line + 1) : "";
  size_t first = std::min(head.find(' '), head.size());
  size_t second = std::min(head.find(' ', first + 1), head.size());
  std::string method = head.substr(0, first);
  std::string minor = first < second ? head.substr(first + 1, second - first - 1) : "";
  std::string target = second < head.size() ? head.substr(second + 1) : "/";
  auto request = Api::Make(method, target, 0, body);
  request.headers.Set("openstack-api-version", "placement 1." + minor);
  target_service.Send(std::move(request));
  return 0;
}
