#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The part of HTTP/1.1 (RFC 9112) that the API needs, strictly: what is ambiguous is refused, so that two
// readers can never see two different requests. Pure functions on buffers.
namespace berth::vmm {

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // "/api/v1/vm.info", never empty
  std::string body;
  bool keep_alive = true;
};

struct HttpResponse {
  int status = 200;
  std::string body;   // JSON, or empty
  std::string allow;  // for 405: methods of the target
};

struct HttpLimits {
  size_t header_bytes = 8 << 10;  // request line and header fields with the empty line
  size_t body_bytes = 1 << 20;
};

// What stands at the start of a buffer.
struct NeedMore {                // the start of a request that may still become a good one
  bool awaits_continue = false;  // its body comes when "100 Continue" was said (RFC 9110, 10.1.1)
};
struct ParsedRequest {
  HttpRequest request;
  size_t consumed = 0;  // bytes of the buffer; more may follow
};
struct BadRequest {  // the connection cannot go on after it
  int status = 400;  // 400, 413, 417, 431, 501, 505
  std::string reason;
};
using ParseOutcome = std::variant<NeedMore, ParsedRequest, BadRequest>;

inline constexpr std::string_view kHttpContinue = "HTTP/1.1 100 Continue\r\n\r\n";

ParseOutcome ParseHttpRequest(std::string_view buffer, const HttpLimits& limits);

// The bytes of an answer. 204 carries no body.
std::string FormatHttpResponse(const HttpResponse& response, bool keep_alive);

// "[{"code":...,"message":...,"field":...,"hint":...}]" of one error.
std::string ErrorBody(std::string_view code, std::string_view message, std::string_view field = {},
                      std::string_view hint = {});

}  // namespace berth::vmm
