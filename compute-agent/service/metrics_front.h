#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/http/server.h"
#include "common/status.h"

namespace berth::agent {

// Serves GET /metrics, and nothing else, on an address of its own.
class MetricsFront {
 public:
  // `text` makes the answer, on a thread of the server: quickly. `listen` is "HOST:PORT", port 0: any.
  // kInvalidArgument: it is no such thing; kUnavailable: it cannot be listened on.
  static Result<std::unique_ptr<MetricsFront>> Start(const std::string& listen,
                                                     std::function<std::string()> text);
  ~MetricsFront();  // stops

  int port() const;

 private:
  class Handler;

  MetricsFront() = default;

  std::unique_ptr<Handler> handler_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace berth::agent
