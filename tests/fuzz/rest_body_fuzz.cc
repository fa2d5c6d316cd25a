// Bodies: one byte for the route, one for the microversion, the rest is the body.
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/rest_target.h"

namespace {

using namespace berth::placement::rest;  // NOLINT(google-build-using-namespace)

// Every route that takes a body.
std::pair<const char*, std::string> Choose(uint8_t which) {
  switch (which % 13) {
    case 0:
      return {"PUT", "/allocations/" + std::string(kConsumer)};
    case 1:
      return {"POST", "/allocations"};
    case 2:
      return {"POST", "/reshaper"};
    case 3:
      return {"POST", "/resource_providers"};
    case 4:
      return {"PUT", Rp(kB)};
    case 5:
      return {"PUT", Rp(kA, "/inventories")};
    case 6:
      return {"POST", Rp(kA, "/inventories")};
    case 7:
      return {"PUT", Rp(kA, "/inventories/VCPU")};
    case 8:
      return {"PUT", Rp(kA, "/traits")};
    case 9:
      return {"PUT", Rp(kA, "/aggregates")};
    case 10:
      return {"POST", "/resource_classes"};
    case 11:
      return {"PUT", "/resource_classes/CUSTOM_A"};
    default:
      return {"PUT", "/allocations/" + std::string(kConsumer2)};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static RestTarget target;
  berth::FuzzInput input(data, size);
  auto [method, path] = Choose(input.Take<uint8_t>());
  const int minor = input.Take<uint8_t>() % 40;
  auto rest = input.TakeBytes(size);
  target.Send(Api::Make(method, path, minor, {reinterpret_cast<const char*>(rest.data()), rest.size()}));
  return 0;
}
