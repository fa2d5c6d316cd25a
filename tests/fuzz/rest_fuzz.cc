// Any request to the REST API: the first line is "METHOD minor-version target", the rest is the body. The
// engine is the real one on a store in memory, with a few providers to find.
#include <cstdint>
#include <string>

#include "tests/placement/rest/api.h"

namespace {

using berth::placement::rest::Api;

Api& Service() {
  static Api* api = [] {
    auto* made = new Api();
    made->Provider(berth::placement::rest::kA, "a");
    made->Provider(berth::placement::rest::kB, "b", berth::placement::rest::kA);
    made->Inventory(berth::placement::rest::kA, "VCPU", R"("total": 64)");
    made->Inventory(berth::placement::rest::kB, "SRIOV_NET_VF", R"("total": 8)");
    return made;
  }();
  return *api;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
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
  auto reply = Service().Send(std::move(request));
  // Whatever comes in, the service answers, and never with an error of its own.
  if (reply.status < 200 || reply.status == 500) __builtin_trap();
  return 0;
}
