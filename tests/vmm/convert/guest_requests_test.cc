#include "vmm/convert/guest_requests.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "tests/vmm/convert/fake_guest.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kEncrypted = 1 << 4;

FakeGuest::Options SmallGuest() {
  FakeGuest::Options options;
  options.regions = {
      {.base = 0, .size = 8 * kMiB},
      {.base = 16 * kMiB, .size = 2 * kMiB, .host_node = {}, .initial = PageState::kUnplugged}};
  options.converter.drain_timeout = std::chrono::milliseconds(0);
  return options;
}

TEST(GuestRequests, ConvertsByHypercall) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 2, {});

  EXPECT_EQ(*requests.MapGpaRange(0, kMiB, 256, 0), 0u);
  EXPECT_EQ(guest.StateOf(kMiB), PageState::kShared);
  EXPECT_EQ(*requests.MapGpaRange(1, kMiB, 1, kEncrypted | 1), 0u);
  EXPECT_EQ(guest.StateOf(kMiB), PageState::kPrivate);
  EXPECT_EQ(guest.StateOf(kMiB + kPage), PageState::kShared);
}

TEST(GuestRequests, AnswersWrongHypercallsWithEinval) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {});

  EXPECT_EQ(*requests.MapGpaRange(0, 1, 1, 0), uint64_t{EINVAL});
  EXPECT_EQ(*requests.MapGpaRange(0, 0, 0, 0), uint64_t{EINVAL});
  EXPECT_EQ(*requests.MapGpaRange(0, 0, UINT64_MAX, 0), uint64_t{EINVAL});
  EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, 0x20), uint64_t{EINVAL});
  EXPECT_EQ(*requests.MapGpaRange(0, 7 * kMiB, 512, kEncrypted), uint64_t{EINVAL});
  EXPECT_EQ(*requests.MapGpaRange(0, 16 * kMiB, 1, 0), uint64_t{EINVAL});  // not plugged
}

TEST(GuestRequests, LetsTheGuestRetryButNotForEver) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {.patience = {}, .max_retries = 3});
  ASSERT_EQ(*requests.MapGpaRange(0, 0, 1, 0), 0u);
  const MemoryUse use(&guest.pages);

  for (int i = 0; i < 3; ++i) EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, kEncrypted), uint64_t{EAGAIN});
  EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, kEncrypted), uint64_t{EINVAL});
}

// Not every guest may hear that it shall try again: SNP guests end themselves then.
TEST(GuestRequests, WaitsForADeviceThatIsInTheMiddleOfThePage) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {.patience = std::chrono::minutes(5)});
  ASSERT_EQ(*requests.MapGpaRange(0, 0, 1, 0), 0u);
  auto use = std::make_unique<MemoryUse>(&guest.pages);

  std::atomic<bool> answered = false;
  std::thread vcpu([&] {
    EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, kEncrypted), 0u);
    answered = true;
  });
  const auto tries = [&] { return guest.converter.counters().undone; };
  const uint64_t before = tries();
  while (tries() < before + 3) std::this_thread::yield();
  EXPECT_FALSE(answered);
  use.reset();
  vcpu.join();
  EXPECT_EQ(guest.StateOf(0), PageState::kPrivate);
}

TEST(GuestRequests, IsNotWaitedForByAPauseOrAStop) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {.patience = std::chrono::milliseconds(100)});
  ASSERT_EQ(*requests.MapGpaRange(0, 0, 1, 0), 0u);
  auto use = std::make_unique<MemoryUse>(&guest.pages);

  int rests = 0;
  EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, kEncrypted, [&](auto) { return ++rests < 3; }), uint64_t{EAGAIN});
  EXPECT_EQ(rests, 3);
  // A pause longer than all patience takes nothing of it.
  rests = 0;
  EXPECT_EQ(*requests.MapGpaRange(0, 0, 1, kEncrypted,
                                  [&](auto) {
                                    if (++rests == 1)
                                      std::this_thread::sleep_for(std::chrono::milliseconds(150));
                                    if (rests == 2) use.reset();
                                    return true;
                                  }),
            0u);
  EXPECT_EQ(guest.StateOf(0), PageState::kPrivate);
}

TEST(GuestRequests, ConvertsWhatTheGuestTouches) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {});

  EXPECT_TRUE(requests.MemoryFault(0, kMiB, kPage, false).ok());
  EXPECT_EQ(guest.StateOf(kMiB), PageState::kShared);
  EXPECT_TRUE(requests.MemoryFault(0, kMiB, kPage, true).ok());
  EXPECT_EQ(guest.StateOf(kMiB), PageState::kPrivate);
}

TEST(GuestRequests, StopsAGuestThatTouchesWhatIsNotPlugged) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {});

  const Status unplugged = requests.MemoryFault(0, 16 * kMiB, kPage, true);
  EXPECT_EQ(unplugged.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(unplugged.message().find("not plugged"), std::string::npos);
  EXPECT_EQ(requests.MemoryFault(0, 64 * kMiB, kPage, true).code(), StatusCode::kFailedPrecondition);
}

TEST(GuestRequests, StopsAGuestThatFaultsWithoutProgress) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {.max_faults_without_progress = 4});

  for (int i = 0; i < 4; ++i) EXPECT_TRUE(requests.MemoryFault(0, 0, kPage, true).ok());
  const Status status = requests.MemoryFault(0, 0, kPage, true);

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("without progress"), std::string::npos);
  EXPECT_TRUE(requests.MemoryFault(0, kPage, kPage, true).ok());  // another page is another matter
}

TEST(GuestRequests, StopsTwoVcpusThatFightForAPage) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 2, {.max_repeated_faults = 10});
  Status status;
  int rounds = 0;
  for (; status.ok() && rounds < 100; ++rounds) {
    status = requests.MemoryFault(0, 0, kPage, true);
    if (status.ok()) status = requests.MemoryFault(1, 0, kPage, false);
  }
  EXPECT_EQ(rounds, 11);
}

TEST(GuestRequests, ConvertsNothingImplicitlyWhereTheHypercallIsTheOnlyWay) {
  FakeGuest guest(SmallGuest());
  GuestRequests requests(guest.converter, 1, {.implicit = false});

  EXPECT_EQ(requests.MemoryFault(0, 0, kPage, false).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(guest.StateOf(0), PageState::kPrivate);
}

}  // namespace
}  // namespace berth::vmm
