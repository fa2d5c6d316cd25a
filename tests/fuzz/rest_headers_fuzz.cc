// Headers: one byte for the request, then lines "name: value", which replace those that the request has.
#include <algorithm>
#include <cstdint>
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/rest_target.h"

namespace {

using namespace berth::placement::rest;  // NOLINT(google-build-using-namespace)

berth::http::Request Choose(uint8_t which) {
  switch (which % 6) {
    case 0:
      return Api::Make("GET", "/", 39);
    case 1:
      return Api::Make("GET", Rp(kA), 39);
    case 2:
      return Api::Make("GET", "/usages?project_id=p1", 39);
    case 3:
      return Api::Make("OPTIONS", "/resource_providers", 39);
    case 4:
      return Api::Make("POST", "/resource_classes", 39, R"({"name": "CUSTOM_A"})");
    default:
      return Api::Make("POST", "/resource_providers", 39, R"({"name": "c"})");  // answers with a location
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static RestTarget target;
  berth::FuzzInput input(data, size);
  auto request = Choose(input.Take<uint8_t>());
  auto rest = input.TakeBytes(size);
  std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    const size_t colon = std::min(line.find(": "), line.size());
    request.headers.Set(line.substr(0, colon), colon < line.size() ? line.substr(colon + 2) : "");
    at = end + 1;
  }
  target.Send(std::move(request));
  return 0;
}
