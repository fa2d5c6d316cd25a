#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::agent {

// The few calls of the VMM's REST API (HTTP/1.1 over a UNIX socket) that the agent needs. Each call opens a
// connection of its own and is bounded by the timeout. kUnavailable: nobody listens (yet); kDeadlineExceeded:
// no answer in time; kFailedPrecondition: the VMM refused, with its text.
class VmmClient {
 public:
  explicit VmmClient(std::string socket_path, std::chrono::milliseconds timeout = std::chrono::seconds(1))
      : socket_path_(std::move(socket_path)), timeout_(timeout) {}

  Status Ping() const { return Call("GET", "vmm.ping").status(); }
  // Asks the guest's operating system to shut down.
  Status PowerButton() const { return Call("PUT", "vm.power-button").status(); }

 private:
  Result<std::string> Call(std::string_view method, std::string_view name) const;

  std::string socket_path_;
  std::chrono::milliseconds timeout_;
};

}  // namespace berth::agent
