// Query strings: one byte for the route, one for the microversion, the rest is the query.
#include <array>
#include <cstdint>
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/rest_target.h"

namespace {

// Candidates twice: most of what queries can say is there.
constexpr std::array<const char*, 6> kRoutes = {
    "/allocation_candidates", "/resource_providers", "/allocation_candidates", "/usages", "/traits",
    "/resource_classes"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static berth::placement::rest::RestTarget target;
  berth::FuzzInput input(data, size);
  const char* route = kRoutes[input.Take<uint8_t>() % kRoutes.size()];
  const int minor = input.Take<uint8_t>() % 40;
  auto rest = input.TakeBytes(size);
  auto request = berth::placement::rest::Api::Make("GET", route, minor);
  request.query.assign(reinterpret_cast<const char*>(rest.data()), rest.size());
  target.Send(std::move(request));
  return 0;
}
