#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/bus/interrupts.h"

namespace berth::vmm {

// Records every message that was delivered. Refuses routes beyond a limit.
class FakeMsiController : public MsiController {
 public:
  explicit FakeMsiController(size_t limit = 4096) : limit_(limit) {}

  Result<std::unique_ptr<MsiRoute>> AllocateRoute() override {
    std::lock_guard lock(mutex_);
    if (routes_ == limit_) return ResourceExhausted("no GSI is left");
    ++routes_;
    return std::unique_ptr<MsiRoute>(new Route(*this));
  }

  size_t routes() {
    std::lock_guard lock(mutex_);
    return routes_;
  }
  std::vector<MsiMessage> delivered() {
    std::lock_guard lock(mutex_);
    return delivered_;
  }
  // Takes what was written to the descriptors of routes that have a message and are not masked, as KVM does.
  void Drain() {
    std::lock_guard lock(mutex_);
    for (Route* route : live_) route->DrainLocked();
  }
  size_t Count(uint32_t data) {
    std::lock_guard lock(mutex_);
    return CountLocked(data);
  }
  // Waits until a message with `data` was delivered `count` times; false after half a minute.
  bool WaitFor(uint32_t data, size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return CountLocked(data) >= count; });
  }

 private:
  class Route : public MsiRoute {
   public:
    explicit Route(FakeMsiController& controller) : controller_(controller), fd_(eventfd(0, EFD_NONBLOCK)) {
      controller_.live_.push_back(this);
    }
    ~Route() override {
      std::lock_guard lock(controller_.mutex_);
      std::erase(controller_.live_, this);
      --controller_.routes_;
    }
    Status Set(const MsiMessage& message) override {
      std::lock_guard lock(controller_.mutex_);
      message_ = message;
      return OkStatus();
    }
    Status SetMasked(bool masked) override {
      std::lock_guard lock(controller_.mutex_);
      masked_ = masked;
      DrainLocked();
      return OkStatus();
    }
    void DrainLocked() {
      uint64_t count = 0;
      if (masked_ || !message_ || read(fd_.get(), &count, sizeof count) != sizeof count) return;
      controller_.delivered_.push_back(*message_);
      controller_.changed_.notify_all();
    }
    void Trigger() override {
      std::lock_guard lock(controller_.mutex_);
      if (!message_) return;
      if (masked_) {
        const uint64_t one = 1;
        [[maybe_unused]] ssize_t written = write(fd_.get(), &one, sizeof one);
        return;
      }
      controller_.delivered_.push_back(*message_);
      controller_.changed_.notify_all();
    }
    int event_fd() const override { return fd_.get(); }

   private:
    FakeMsiController& controller_;
    std::optional<MsiMessage> message_;
    bool masked_ = false;
    UniqueFd fd_;
  };

  size_t CountLocked(uint32_t data) const {
    size_t count = 0;
    for (const MsiMessage& message : delivered_) count += message.data == data ? 1 : 0;
    return count;
  }

  const size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t routes_ = 0;
  std::vector<Route*> live_;
  std::vector<MsiMessage> delivered_;
};

class FakeIoEvents : public IoEventRegistry {
 public:
  Status Add(uint64_t address, int event_fd) override {
    if (refuse) return ResourceExhausted("no room");
    if (!events.emplace(address, event_fd).second) return AlreadyExists("taken");
    return OkStatus();
  }
  Status Remove(uint64_t address, int event_fd) override {
    auto found = events.find(address);
    if (found == events.end() || found->second != event_fd) return NotFound("not registered");
    events.erase(found);
    return OkStatus();
  }

  std::map<uint64_t, int> events;
  bool refuse = false;
};

}  // namespace berth::vmm
