#include "vmm/virtio/rate_limiter.h"

#include <gtest/gtest.h>

#include <random>

namespace berth::vmm {
namespace {

using std::chrono::milliseconds;
using Clock = TokenBucket::Clock;

TEST(TokenBucket, GivesItsSizeThenRefillsEvenly) {
  const Clock::time_point start{};
  TokenBucket bucket(100, 0, milliseconds(1000), start);
  ASSERT_TRUE(bucket.Has(100, start));
  bucket.Take(100);
  EXPECT_FALSE(bucket.Has(1, start));
  EXPECT_FALSE(bucket.Has(50, start + milliseconds(499)));
  EXPECT_TRUE(bucket.Has(50, start + milliseconds(501)));
  EXPECT_FALSE(bucket.Has(51, start + milliseconds(501)));
  EXPECT_TRUE(bucket.Has(100, start + milliseconds(5000)));
  EXPECT_GE(bucket.ReadyAt(100, start + milliseconds(5000)), start + milliseconds(5000));
}

TEST(TokenBucket, TheBurstIsUsedOnce) {
  const Clock::time_point start{};
  TokenBucket bucket(10, 50, milliseconds(1000), start);
  bucket.Take(50);
  ASSERT_TRUE(bucket.Has(10, start));
  bucket.Take(10);
  EXPECT_FALSE(bucket.Has(20, start + milliseconds(100)));
  EXPECT_TRUE(bucket.Has(10, start + milliseconds(2000)));
}

TEST(TokenBucket, WhatIsTooLargePassesWhenTheBucketIsFullAndIsPaidForAfterwards) {
  const Clock::time_point start{};
  TokenBucket bucket(10, 0, milliseconds(1000), start);
  ASSERT_TRUE(bucket.Has(1000, start));
  bucket.Take(1000);
  EXPECT_FALSE(bucket.Has(1, start + milliseconds(50'000)));
  EXPECT_TRUE(bucket.Has(1, start + milliseconds(99'200)));
  EXPECT_GT(bucket.ReadyAt(1000, start), start);
}

// Over any run, no more is taken than bucket, burst and refill allow, but for one last request.
TEST(TokenBucket, NeverGivesMoreThanItsRate) {
  std::mt19937_64 random(11);
  for (int run = 0; run < 50; ++run) {
    const uint64_t size = 1 + random() % 10000;
    const auto refill = milliseconds(1 + random() % 2000);
    const uint64_t burst = random() % 5000;
    Clock::time_point now{};
    TokenBucket bucket(size, burst, refill, now);
    uint64_t taken = 0, last = 0;
    for (int step = 0; step < 500; ++step) {
      const uint64_t want = 1 + random() % (2 * size);
      const Clock::time_point ready = bucket.ReadyAt(want, now);
      if (ready > now) {
        now = random() % 2 == 0 ? ready : now + std::chrono::microseconds(random() % 100000);
        ASSERT_TRUE(ready > now || bucket.Has(want, now));
        continue;
      }
      bucket.Take(want);
      taken += want;
      last = want;
    }
    const double allowed = static_cast<double>(size) + static_cast<double>(burst) +
                           static_cast<double>(size) *
                               std::chrono::duration<double>(now.time_since_epoch()).count() /
                               std::chrono::duration<double>(refill).count();
    EXPECT_LE(static_cast<double>(taken - last), allowed + 1);
  }
}

TEST(RateLimiter, RefusesAndComesBack) {
  auto loop = *EventLoop::Create();
  int resumed = 0;
  RateLimitSettings settings;
  settings.operations = {2, 0, 5};
  auto limiter = *RateLimiter::Create(settings, *loop, [&] {
    ++resumed;
    loop->Stop();
  });
  EXPECT_TRUE(limiter->Admit(1 << 20));
  EXPECT_TRUE(limiter->Admit(1 << 20));
  EXPECT_FALSE(limiter->Admit(1));
  ASSERT_TRUE(loop->Run().ok());
  EXPECT_EQ(resumed, 1);
  EXPECT_TRUE(limiter->Admit(1));
  EXPECT_EQ(limiter->refused(), 1u);
}

TEST(RateLimiter, IsNotThereWithoutALimit) {
  auto loop = *EventLoop::Create();
  EXPECT_EQ(*RateLimiter::Create({}, *loop, [] {}), nullptr);
}

}  // namespace
}  // namespace berth::vmm
