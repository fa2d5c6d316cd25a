// The API's request parser and router. Every prefix of a good request must need more, the parser must take
// what it says that it takes, and an answer must carry the length of its body.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"
#include "tests/vmm/api/fake_vm_control.h"
#include "vmm/api/router.h"

namespace berth::vmm {
namespace {

constexpr HttpLimits kLimits = {512, 256};

void CheckPrefixes(std::string_view request) {
  for (size_t size = 0; size < request.size(); ++size) {
    ParseOutcome outcome = ParseHttpRequest(request.substr(0, size), kLimits);
    CHECK(std::holds_alternative<NeedMore>(outcome));
  }
}

void CheckAnswer(const HttpResponse& response) {
  std::string text = FormatHttpResponse(response, true);
  size_t body = text.find("\r\n\r\n") + 4;
  if (response.status == 204) {
    CHECK(body == text.size());
  } else {
    CHECK(text.find("Content-Length: " + std::to_string(text.size() - body) + "\r\n") < body);
  }
}

}  // namespace
}  // namespace berth::vmm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  static FakeVmControl vm;
  std::string_view buffer(reinterpret_cast<const char*>(data), size);
  while (!buffer.empty()) {
    ParseOutcome outcome = ParseHttpRequest(buffer, kLimits);
    if (std::holds_alternative<NeedMore>(outcome)) {
      CHECK(buffer.size() < kLimits.header_bytes + kLimits.body_bytes);
      break;
    }
    if (auto* bad = std::get_if<BadRequest>(&outcome)) {
      CHECK(bad->status >= 400 && !bad->reason.empty());
      break;
    }
    auto& parsed = std::get<ParsedRequest>(outcome);
    CHECK(parsed.consumed > 0 && parsed.consumed <= buffer.size());
    CheckPrefixes(buffer.substr(0, parsed.consumed));
    CheckAnswer(Route(parsed.request, vm));
    vm.Forget();
    buffer.remove_prefix(parsed.consumed);
  }
  return 0;
}
