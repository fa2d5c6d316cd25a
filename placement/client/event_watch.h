#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "berth/v1/placement.grpc.pb.h"
#include "common/status.h"

namespace berth::placement {

// Takes what an EventWatch brings. Called from the watch's thread only, in order.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // A whole new picture begins: the present state follows, complete at the next event of kind SYNCED.
  virtual void OnReset() = 0;
  // An error (kInvalidArgument: the event cannot be read) ends the stream; the watch begins anew.
  virtual Status OnEvent(const v1::Event& event) = 0;
};

// Follows placement's events, whatever happens to the connection: first the present state, then each change;
// after a loss it resumes where it was, or begins anew when placement no longer keeps what came since. An
// outage is logged once. Thread-safe.
class EventWatch {
 public:
  // `host`: the UUID of the only host of interest; empty: all. The stub must outlive the watch.
  EventWatch(v1::Placement::Stub& stub, std::string host);
  ~EventWatch();  // Stop
  EventWatch(const EventWatch&) = delete;
  EventWatch& operator=(const EventWatch&) = delete;

  // Call once; `sink` must live until Stop has returned.
  void Start(EventSink& sink);
  // Afterwards the sink is not called any more. Idempotent.
  void Stop();

 private:
  void Run();
  // One stream until it ends.
  Status Follow();
  Status Deliver(const v1::Event& event);
  bool Pause(std::chrono::milliseconds time);

  v1::Placement::Stub& stub_;
  const std::string host_;

  // Of the watch's thread.
  EventSink* sink_ = nullptr;
  uint64_t last_ = 0;  // the event to resume after; 0: begin with the present state

  std::mutex mutex_;  // guards the two below
  bool stopping_ = false;
  grpc::ClientContext* stream_ = nullptr;  // of the open stream; to cancel it
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace berth::placement
