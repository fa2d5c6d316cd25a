#include "vmm/virtio/rate_limiter.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::vmm {

TokenBucket::TokenBucket(uint64_t size, uint64_t one_time_burst, std::chrono::milliseconds refill,
                         Clock::time_point now)
    : size_(std::min<uint64_t>(size, INT64_MAX)),
      refill_(std::max<std::chrono::nanoseconds>(refill, std::chrono::milliseconds(1))),
      burst_(one_time_burst),
      budget_(static_cast<int64_t>(size_)),
      last_(now) {}

void TokenBucket::Refill(Clock::time_point now) {
  const std::chrono::nanoseconds passed = now - last_;
  if (passed.count() <= 0) return;
  const double share =
      std::min(1e9, static_cast<double>(passed.count()) / static_cast<double>(refill_.count()));
  const double tokens = share * static_cast<double>(size_);
  // Less than a token is kept as time.
  if (tokens < 1) return;
  const double missing = static_cast<double>(size_) - static_cast<double>(budget_);
  if (tokens >= missing) {
    budget_ = static_cast<int64_t>(size_);
    last_ = now;
    return;
  }
  const auto whole = static_cast<int64_t>(tokens);
  budget_ += whole;
  last_ += std::chrono::nanoseconds(static_cast<int64_t>(
      static_cast<double>(whole) / static_cast<double>(size_) * static_cast<double>(refill_.count())));
}

bool TokenBucket::Has(uint64_t tokens, Clock::time_point now) {
  if (burst_ >= tokens) return true;
  Refill(now);
  return budget_ >= 0 && static_cast<uint64_t>(budget_) + burst_ >= Wanted(tokens);
}

void TokenBucket::Take(uint64_t tokens) {
  const uint64_t from_burst = std::min(burst_, tokens);
  burst_ -= from_burst;
  const uint64_t rest = std::min<uint64_t>(tokens - from_burst, INT64_MAX / 2);
  budget_ -= static_cast<int64_t>(rest);
}

TokenBucket::Clock::time_point TokenBucket::ReadyAt(uint64_t tokens, Clock::time_point now) {
  if (Has(tokens, now)) return now;
  const double missing =
      static_cast<double>(Wanted(tokens)) - static_cast<double>(burst_) - static_cast<double>(budget_);
  const double wait = missing / static_cast<double>(size_) * static_cast<double>(refill_.count());
  constexpr double kLongest = 3600e9;
  // A microsecond more than computed, so that rounding never makes it come back in vain.
  constexpr int64_t kMargin = 1000;
  return last_ + std::chrono::nanoseconds(static_cast<int64_t>(std::clamp(wait, 1.0, kLongest)) + kMargin);
}

Result<std::unique_ptr<RateLimiter>> RateLimiter::Create(const RateLimitSettings& settings, EventLoop& loop,
                                                         std::function<void()> resume) {
  std::unique_ptr<RateLimiter> self;
  if (!settings.limited()) return self;
  self.reset(new RateLimiter(loop));
  const auto now = TokenBucket::Clock::now();
  auto make = [now](const RateLimitSettings::Bucket& bucket, std::optional<TokenBucket>& target) {
    if (bucket.size == 0) return;
    target.emplace(bucket.size, bucket.one_time_burst, std::chrono::milliseconds(bucket.refill_ms), now);
  };
  make(settings.bandwidth, self->bandwidth_);
  make(settings.operations, self->operations_);
  self->timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!self->timer_.valid()) return ErrnoStatus("timer of a rate limit", errno);
  self->resume_ = std::move(resume);
  return self;
}

RateLimiter::~RateLimiter() {
  Pause();
}

void RateLimiter::Pause() {
  loop_.Remove(timer_.get());
  watched_ = false;
}

bool RateLimiter::Admit(uint64_t bytes) {
  const auto now = TokenBucket::Clock::now();
  auto ready = now;
  if (bandwidth_) ready = std::max(ready, bandwidth_->ReadyAt(bytes, now));
  if (operations_) ready = std::max(ready, operations_->ReadyAt(1, now));
  if (ready <= now) {
    if (bandwidth_) bandwidth_->Take(bytes);
    if (operations_) operations_->Take(1);
    return true;
  }
  ++refused_;
  if (!watched_) {
    watched_ = loop_
                   .Add(timer_.get(), EPOLLIN,
                        [this](uint32_t) {
                          uint64_t count = 0;
                          if (::read(timer_.get(), &count, sizeof count) == sizeof count) resume_();
                        })
                   .ok();
  }
  const auto wait = std::chrono::duration_cast<std::chrono::nanoseconds>(ready - now).count();
  itimerspec spec{};
  spec.it_value.tv_sec = wait / 1'000'000'000;
  spec.it_value.tv_nsec = std::max<long>(wait % 1'000'000'000, 1);
  ::timerfd_settime(timer_.get(), 0, &spec, nullptr);
  return false;
}

}  // namespace berth::vmm
