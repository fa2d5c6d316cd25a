#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/status.h"
#include "vmm/api/vm_control.h"
#include "vmm/bus/unix_listener.h"

namespace berth::vmm {

// What a client can make the server hold or wait for.
struct ApiLimits {
  size_t header_bytes = 8 << 10;
  size_t body_bytes = 1 << 20;
  size_t connections = 16;                           // one more is answered with 503 and closed
  std::chrono::milliseconds request_timeout{5000};   // from a request's first byte to its last
  std::chrono::milliseconds response_timeout{5000};  // until the client has taken the whole answer
  std::chrono::milliseconds idle_timeout{60000};     // between requests of a connection
};

// HTTP/1.1 on a UNIX socket of mode 0600, served by one thread of its own. Verbs: vmm/api/router.h.
class ApiServer {
 public:
  // Listens at `path`; a socket that nobody listens on any more is replaced. `control` must outlive the
  // server. Errors: kAlreadyExists (somebody listens there, or it is no socket), kInvalidArgument (path too
  // long for a socket), errors of the system with the path.
  static Result<std::unique_ptr<ApiServer>> Start(const std::string& path, VmControl& control,
                                                  ApiLimits limits = {});
  // The same on a listener that is there, such as an inherited one.
  static Result<std::unique_ptr<ApiServer>> Start(UnixListener listener, VmControl& control,
                                                  ApiLimits limits = {});
  // Answers what is being handled, closes all connections and removes the socket.
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  pid_t thread_id() const;  // for VmFacts::threads

 private:
  class Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace berth::vmm
