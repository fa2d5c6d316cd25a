#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace berth::placement {

// Tells when the other end of a channel cannot be reached, and when it can again: once each, however long it
// takes. Calls that wait for the channel say nothing themselves. Keeps the channel connecting. Thread-safe.
class ChannelWatch {
 public:
  // Called from the watch's thread only.
  using Tell = std::function<void(bool reachable)>;

  // `patience`: an outage that is over sooner is not told; nor is the first connection, if it is made by
  // then.
  ChannelWatch(std::shared_ptr<grpc::Channel> channel, std::chrono::milliseconds patience, Tell tell);
  ~ChannelWatch();  // `tell` is not called any more
  ChannelWatch(const ChannelWatch&) = delete;
  ChannelWatch& operator=(const ChannelWatch&) = delete;

 private:
  void Run();

  const std::shared_ptr<grpc::Channel> channel_;  // gRPC's, shared with the stubs that use it
  const std::chrono::milliseconds patience_;
  const Tell tell_;

  std::mutex mutex_;  // guards stopping_
  bool stopping_ = false;
  std::condition_variable stop_;
  std::thread thread_;
};

}  // namespace berth::placement
