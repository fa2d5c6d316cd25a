#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "common/status.h"
#include "vmm/api/http.h"

namespace berth::vmm {

// One call of the API over a connection of its own; blocks for at most `timeout` at each step. Any HTTP
// status is a response; a Status is an error of the connection (kNotFound: no such socket, kUnavailable:
// nobody listens, kDeadlineExceeded) or an answer that is not HTTP (kDataLoss). `fds` travel with it.
Result<HttpResponse> CallApi(const std::string& socket_path, std::string_view method, std::string_view verb,
                             std::chrono::milliseconds timeout, std::string_view body = {},
                             std::span<const int> fds = {});

// JSON with line breaks, for people; text that is not JSON stays as it is.
std::string IndentJson(const std::string& text);

}  // namespace berth::vmm
