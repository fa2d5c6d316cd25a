#pragma once

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/api/api_server.h"
#include "vmm/api/http.h"

namespace berth::vmm {

// One client of the API, on a non-blocking socket. A request is read, answered, and its answer sent before
// the next one is looked at, so that a client that sends without reading makes us hold one answer and one
// buffer. Used by the server's thread only.
class ApiConnection {
 public:
  using Clock = std::chrono::steady_clock;

  ApiConnection(UniqueFd fd, const ApiLimits& limits, Clock::time_point now);

  int fd() const { return fd_.get(); }
  // Events to wait for, as for poll(2).
  short events() const;
  Clock::time_point deadline() const { return deadline_; }

  // The socket is ready, or the deadline has passed. False when the connection has ended.
  bool OnReady(short events, VmControl& control, Clock::time_point now);
  bool OnDeadline(Clock::time_point now);
  // Refuses the client with 503.
  void Refuse(Clock::time_point now);

 private:
  bool ReadSome(Clock::time_point now);
  void TakeDescriptors(const msghdr& message);
  void HandleBuffer(VmControl& control, Clock::time_point now);
  void Answer(const HttpResponse& response, bool keep_alive, Clock::time_point now);
  bool Flush(Clock::time_point now);

  UniqueFd fd_;
  const ApiLimits& limits_;
  std::string in_;
  std::string out_;
  size_t sent_ = 0;
  std::vector<UniqueFd> fds_;  // that came with what is in in_
  bool closing_ = false;       // no request is read any more
  bool continued_ = false;     // the client was told to send the body
  bool peer_done_ = false;
  Clock::time_point deadline_;
};

}  // namespace berth::vmm
