#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "common/http/message.h"
#include "common/status.h"

namespace berth::http {

struct ClientOptions {
  std::chrono::seconds timeout{10};  // of one exchange
  size_t max_body_bytes = 1 << 20;   // of an answer
  std::string ca_file = {};          // for https: certificates to trust; "": the system's
  bool verify_certificate = true;
};

// Sends requests to one server, several at a time. Thread-safe.
class Client {
 public:
  // On a thread of the library, or the caller's. kUnavailable: no answer (the message says why).
  using Done = std::function<void(Result<Response>)>;

  virtual ~Client() = default;
  // `path` begins with '/', is percent-encoded and may have a query. Returns at once.
  virtual void Send(const std::string& method, const std::string& path, const Headers& headers,
                    const std::string& body, Done done) = 0;
};

// `base`: "http://host:port/prefix" or https. kInvalidArgument: it is no such thing.
Result<std::unique_ptr<Client>> NewClient(const std::string& base, const ClientOptions& options);

}  // namespace berth::http
