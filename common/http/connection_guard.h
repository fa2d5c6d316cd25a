#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace berth::http {

// Closes the connections that misuse a listener which itself sets them no limits. Works from outside: it
// looks at the process's sockets that were accepted on `port` and at what the kernel has counted for each
// (TCP_INFO), so that it needs nothing from the library that owns them. A connection is reset, never closed
// here: its owner sees an error and closes it. Looks every `period`; what a client can make the listener
// buffer is therefore bounded by what it can send within one period, beside the limit.
class ConnectionGuard {
 public:
  struct Limits {
    uint64_t request_bytes = 0;  // of one request, header and body
    std::chrono::milliseconds request_timeout{};
    std::chrono::milliseconds idle_timeout{};
    size_t connections = 0;
    std::chrono::milliseconds period{250};
  };
  struct Counters {
    std::atomic<uint64_t> slow{0};
    std::atomic<uint64_t> oversized{0};
    std::atomic<uint64_t> excess{0};
    std::atomic<uint64_t> open{0};
  };

  ConnectionGuard(int port, Limits limits);
  ~ConnectionGuard();
  ConnectionGuard(const ConnectionGuard&) = delete;
  ConnectionGuard& operator=(const ConnectionGuard&) = delete;

  const Counters& counters() const { return counters_; }

 private:
  using Time = std::chrono::steady_clock::time_point;
  // What is known of one connection, by the inode of its socket.
  struct Seen {
    uint64_t answered = 0;       // bytes that we sent and the peer confirmed
    uint64_t received_then = 0;  // bytes received when `answered` last changed
    uint64_t round = 0;          // of the last look
    Time progress{};             // when `answered` last changed, or the first look
    bool pending = false;        // something was received, or waits to be sent, since
    Time pending_since{};
  };

  void Run();
  void Look(Time now);
  void LookAt(int fd, Time now, size_t* open);

  const int port_;
  const Limits limits_;
  Counters counters_;
  std::map<uint64_t, Seen> seen_;
  uint64_t round_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace berth::http
