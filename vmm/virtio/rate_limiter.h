#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"

namespace berth::vmm {

// `size` tokens that come back evenly within the refill time, and a burst on top that is used once, first. A
// request that costs more than the whole bucket is let through when the bucket is full, and paid for
// afterwards, so that it delays what follows and never waits for ever. Pure: the clock is handed in.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  TokenBucket(uint64_t size, uint64_t one_time_burst, std::chrono::milliseconds refill,
              Clock::time_point now);

  // Whether `tokens` can be taken now; takes nothing.
  bool Has(uint64_t tokens, Clock::time_point now);
  void Take(uint64_t tokens);
  // When `tokens` can be taken, if nobody else takes any.
  Clock::time_point ReadyAt(uint64_t tokens, Clock::time_point now);

 private:
  void Refill(Clock::time_point now);
  uint64_t Wanted(uint64_t tokens) const { return tokens < size_ ? tokens : size_; }

  const uint64_t size_;
  const std::chrono::nanoseconds refill_;
  uint64_t burst_;
  int64_t budget_;  // below zero after a request that was too large
  Clock::time_point last_;
};

struct RateLimitSettings {
  struct Bucket {
    uint64_t size = 0;  // 0: no limit
    uint64_t one_time_burst = 0;
    uint64_t refill_ms = 0;
  };
  Bucket bandwidth;
  Bucket operations;
  bool limited() const { return bandwidth.size > 0 || operations.size > 0; }
};

// The buckets of one queue, with a timer on its event loop that calls when what was refused can go on. Used
// by the loop's thread.
class RateLimiter {
 public:
  // Null when nothing is limited. `resume` runs on the loop's thread.
  static Result<std::unique_ptr<RateLimiter>> Create(const RateLimitSettings& settings, EventLoop& loop,
                                                     std::function<void()> resume);
  ~RateLimiter();
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  // Takes one operation and its bytes, or says no and calls `resume` later.
  bool Admit(uint64_t bytes);
  // When this returns, `resume` does not run and will not until Admit says no again. From any thread.
  void Pause();
  uint64_t refused() const { return refused_; }

 private:
  explicit RateLimiter(EventLoop& loop) : loop_(loop) {}

  EventLoop& loop_;
  UniqueFd timer_;
  std::function<void()> resume_;
  bool watched_ = false;
  std::optional<TokenBucket> bandwidth_;
  std::optional<TokenBucket> operations_;
  uint64_t refused_ = 0;
};

}  // namespace berth::vmm
