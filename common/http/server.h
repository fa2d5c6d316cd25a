#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "common/http/message.h"
#include "common/status.h"

namespace berth::http {

// What answers requests. Thread-safe.
class Handler {
 public:
  // Called exactly once a request, on any thread. Quick: what it costs is copying the response.
  using Respond = std::function<void(Response)>;

  virtual ~Handler() = default;
  // On one of the server's few threads: must not wait for anything. If `respond` is dropped without a call,
  // the client gets a 500.
  virtual void Handle(Request request, Respond respond) = 0;
  // The server refuses the request by itself (a limit, a stop): the answer in the handler's own form.
  virtual Response Refuse(const Request& request, int status, const std::string& reason) = 0;
};

struct ServerOptions {
  std::string host = "127.0.0.1";      // a name or an address; IPv6 without brackets
  int port = 0;                        // 0: any free one
  size_t threads = 2;                  // cpprestsdk's: at least 2, fewer count as 2
  size_t max_body_bytes = 16 << 20;    // larger ones: 413
  size_t max_header_bytes = 64 << 10;  // the connection is closed
  size_t max_concurrent = 1024;        // requests that may be in work; more: 503
  size_t max_connections = 4096;       // more are closed as they come
  // From the first byte of a request to its last, and for a client that does not read its answer.
  std::chrono::milliseconds request_timeout{30'000};
  // A connection without any request.
  std::chrono::milliseconds idle_timeout{120'000};
};

// A listening HTTP/1.1 server, of one library or another.
class Server {
 public:
  struct Counters {
    uint64_t refused_busy = 0;      // 503 for max_concurrent
    uint64_t refused_body = 0;      // 413
    uint64_t closed_slow = 0;       // connections closed for a timeout
    uint64_t closed_oversized = 0;  // connections closed for sending more than a request may have
    uint64_t closed_excess = 0;     // connections closed for max_connections
    uint64_t connections = 0;       // open ones, as last counted
    uint64_t in_work = 0;           // requests
  };

  virtual ~Server() = default;
  virtual int port() const = 0;
  virtual Counters counters() const = 0;
  // Runs something soon on one of the server's threads; must not throw. For those whose own time is dear.
  virtual void RunSoon(std::function<void()> work) = 0;
  // New requests get a 503; waits until those in work are answered, `grace` at most; then closes everything.
  virtual void Stop(std::chrono::milliseconds grace) = 0;
};

// `handler` outlives the server. kUnavailable: the address cannot be listened on.
Result<std::unique_ptr<Server>> StartServer(const ServerOptions& options,
                                            Handler& handler);  // cpprestsdk's: no IPv6
Result<std::unique_ptr<Server>> StartBeastServer(const ServerOptions& options,
                                                 Handler& handler);  // on Boost.Beast

}  // namespace berth::http
