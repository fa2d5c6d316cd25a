#include "placement/client/channel_watch.h"

#include <algorithm>
#include <utility>

namespace berth::placement {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Looking is cheap; waiting for a change of the state could not be ended from here.
constexpr milliseconds kLongestPause{500};

}  // namespace

ChannelWatch::ChannelWatch(std::shared_ptr<grpc::Channel> channel, milliseconds patience, Tell tell)
    : channel_(std::move(channel)), patience_(patience), tell_(std::move(tell)), thread_([this] { Run(); }) {}

ChannelWatch::~ChannelWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    stop_.notify_all();
  }
  thread_.join();
}

void ChannelWatch::Run() {
  const milliseconds pause = std::clamp(patience_ / 4, milliseconds(1), kLongestPause);
  auto last_reached = steady_clock::now();
  bool told = false;  // that it cannot be reached
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, pause, [this] { return stopping_; })) {
    lock.unlock();
    const auto now = steady_clock::now();
    if (channel_->GetState(true) == GRPC_CHANNEL_READY) {
      if (std::exchange(told, false)) tell_(true);
      last_reached = now;
    } else if (!told && now - last_reached >= patience_) {
      told = true;
      tell_(false);
    }
    lock.lock();
  }
}

}  // namespace berth::placement
