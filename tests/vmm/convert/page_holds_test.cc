#include "vmm/convert/page_holds.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <thread>
#include <vector>

#include "tests/vmm/convert/fake_guest.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::vector<StateRun> Runs(std::initializer_list<std::pair<uint64_t, uint64_t>> pages) {
  std::vector<StateRun> runs;
  for (const auto& [first, count] : pages) {
    runs.push_back({first * kPage, count * kPage, PageState::kConverting});
  }
  return runs;
}

TEST(PageHolds, AreInTheWayOfTheirOwnPagesOnly) {
  PageHolds holds;
  const auto now = steady_clock::now();
  const std::vector<PageRange> ranges = {{10 * kPage + 100, 50}, {20 * kPage - 1, 2}};
  const uint64_t ticket = holds.Add(ranges);

  EXPECT_FALSE(holds.AwaitFree(Runs({{10, 1}}), now));
  EXPECT_FALSE(holds.AwaitFree(Runs({{0, 5}, {8, 3}}), now));
  EXPECT_FALSE(holds.AwaitFree(Runs({{19, 1}}), now));
  EXPECT_FALSE(holds.AwaitFree(Runs({{20, 1}}), now));
  EXPECT_TRUE(holds.AwaitFree(Runs({{0, 10}, {11, 8}, {21, 100}}), now));

  holds.Remove(ticket);
  EXPECT_TRUE(holds.AwaitFree(Runs({{0, 100}}), now));
  EXPECT_EQ(holds.count(), 0u);
}

FakeGuest::Options Shared(milliseconds patience) {
  FakeGuest::Options options;
  options.regions = {{.base = 0, .size = 64 * kPage, .host_node = {}, .initial = PageState::kShared}};
  options.converter.drain_timeout = patience;
  return options;
}

// As a queue does: looked up and held within one use.
PageHold HoldPage(FakeGuest& guest, uint64_t page) {
  const MemoryUse use(&guest.pages);
  EXPECT_EQ(guest.pages.Visible(page * kPage, kPage), kPage);
  const PageRange range{page * kPage, kPage};
  return {guest.pages, {&range, 1}};
}

TEST(PageHolds, AConversionOfHeldPagesIsRefusedAndOfOthersIsNot) {
  FakeGuest guest(Shared(milliseconds(0)));
  {
    const PageHold hold = HoldPage(guest, 5);
    EXPECT_EQ(guest.converter.Convert(0, 16 * kPage, Direction::kToPrivate).status().code(),
              StatusCode::kUnavailable);
    guest.ExpectConsistent(0, 64 * kPage);
    EXPECT_EQ(guest.StateOf(5 * kPage), PageState::kShared);
    EXPECT_TRUE(guest.converter.Convert(6 * kPage, 16 * kPage, Direction::kToPrivate).has_value());
  }
  EXPECT_TRUE(guest.converter.Convert(0, 16 * kPage, Direction::kToPrivate).has_value());
  guest.ExpectConsistent(0, 64 * kPage);
}

TEST(PageHolds, AConversionWaitsUntilTheRequestHasEnded) {
  FakeGuest guest(Shared(std::chrono::minutes(5)));
  std::optional<PageHold> hold = HoldPage(guest, 5);
  auto converted = std::async(std::launch::async, [&] {
    return guest.converter.Convert(0, 16 * kPage, Direction::kToPrivate).has_value();
  });
  // It is under way once nobody finds the page any more.
  while (guest.pages.Visible(5 * kPage, kPage) != 0) std::this_thread::yield();
  EXPECT_EQ(guest.StateOf(5 * kPage), PageState::kConverting);
  EXPECT_TRUE(guest.memory.At(5 * kPage).has_shared);

  hold.reset();

  EXPECT_TRUE(converted.get());
  EXPECT_EQ(guest.StateOf(5 * kPage), PageState::kPrivate);
  EXPECT_FALSE(guest.memory.At(5 * kPage).has_shared);
}

TEST(PageHolds, AreAsManyAsThereAreRequests) {
  FakeGuest guest(Shared(milliseconds(0)));
  std::vector<PageHold> holds;
  // More than there is room for short uses.
  for (size_t i = 0; i < 4 * AccessEpochs::kUsers; ++i) holds.push_back(HoldPage(guest, i % 32));
  EXPECT_TRUE(guest.converter.Convert(32 * kPage, 32 * kPage, Direction::kToPrivate).has_value());
  EXPECT_FALSE(guest.converter.Convert(31 * kPage, kPage, Direction::kToPrivate).has_value());
  holds.clear();
  EXPECT_TRUE(guest.converter.Convert(0, 32 * kPage, Direction::kToPrivate).has_value());
}

}  // namespace
}  // namespace berth::vmm
