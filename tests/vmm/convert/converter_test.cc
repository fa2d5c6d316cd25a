#include "vmm/convert/converter.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#include "tests/vmm/convert/fake_guest.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = 1 << 20;
constexpr auto kToShared = Direction::kToShared;
constexpr auto kToPrivate = Direction::kToPrivate;
using Call = FakeMemory::Call;

FakeGuest::Options SmallGuest() {
  FakeGuest::Options options;
  options.regions = {{.base = 0, .size = 8 * kMiB, .host_node = 0},
                     {.base = 8 * kMiB, .size = 8 * kMiB, .host_node = 1}};
  options.converter.drain_timeout = std::chrono::milliseconds(0);
  options.converter.retry_after = std::chrono::microseconds(0);
  return options;
}

TEST(Converter, Shares2MiBByFourCallsOfTheKernel) {
  FakeGuest::Options options = SmallGuest();
  options.iommu.interface = FakeIommu::Interface::kIommufdCut;
  options.strategy = DmaStrategy::kCut;
  FakeGuest guest(options);
  const uint64_t before = guest.memory.calls() + guest.iommu.calls();

  ASSERT_EQ(*guest.converter.Convert(2 * kMiB, 2 * kMiB, kToShared), 2 * kMiB);

  EXPECT_EQ(guest.memory.calls() + guest.iommu.calls() - before, 4u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, GivesMemoryBackOnTheSideThatPagesLeave) {
  FakeGuest guest(SmallGuest());
  guest.memory.GuestWrite(kMiB, 7);

  ASSERT_TRUE(guest.converter.Convert(kMiB, kPage, kToShared).has_value());
  EXPECT_FALSE(guest.memory.At(kMiB).has_private);
  EXPECT_EQ(guest.memory.GuestRead(kMiB), 0u);
  guest.memory.GuestWrite(kMiB, 8);

  ASSERT_TRUE(guest.converter.Convert(kMiB, kPage, kToPrivate).has_value());
  EXPECT_FALSE(guest.memory.At(kMiB).has_shared);
  EXPECT_EQ(guest.memory.GuestRead(kMiB), 0u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, ChangesOnlyPagesThatAreNotThereYet) {
  FakeGuest guest(SmallGuest());
  ASSERT_TRUE(guest.converter.Convert(kMiB, 4 * kPage, kToShared).has_value());
  guest.memory.HostWrite(kMiB, 5);

  EXPECT_EQ(*guest.converter.Convert(kMiB - 4 * kPage, 12 * kPage, kToShared), 8 * kPage);

  EXPECT_EQ(guest.memory.At(kMiB).shared, 5u);
  EXPECT_EQ(*guest.converter.Convert(kMiB, 4 * kPage, kToShared), 0u);
  EXPECT_EQ(guest.converter.counters().nothing_to_do, 1u);
  EXPECT_EQ(guest.converter.counters().conversions[0], 2u);
}

TEST(Converter, SplitsARangeAtTheBordersOfRegions) {
  FakeGuest guest(SmallGuest());

  ASSERT_EQ(*guest.converter.Convert(7 * kMiB, 2 * kMiB, kToShared), 2 * kMiB);

  EXPECT_EQ(guest.converter.counters().attribute_calls, 2u + 2u);  // two at the start
  EXPECT_EQ(guest.pages.Read([](const PageStateMap& s) { return s.NodeBytes(1, PageState::kShared); }), kMiB);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, SharesRegistersOfDevicesAsAGuestAsks) {
  FakeGuest guest(SmallGuest());

  EXPECT_EQ(*guest.converter.Convert(0xfe000000, kPage, kToShared), 0u);
  EXPECT_EQ(guest.converter.Convert(0xfe000000, kPage, kToPrivate).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(*guest.converter.Convert(16 * kMiB - kPage, 2 * kPage, kToShared), kPage);
}

TEST(Converter, RefusesWhatIsNoRangeOfPages) {
  FakeGuest guest(SmallGuest());

  for (auto [base, size] :
       {std::pair<uint64_t, uint64_t>{0, 0}, {1, kPage}, {0, 100}, {UINT64_MAX - 100, kPage}}) {
    EXPECT_EQ(guest.converter.Convert(base, size, kToShared).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(guest.converter.Unplug(base, size).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(guest.converter.Plug(base, size).code(), StatusCode::kInvalidArgument);
  }
}

// Every step fails once, at each of its calls: states, attributes, what devices reach and the content of both
// sides are as before.
TEST(Converter, UndoesWhateverStepFails) {
  for (const Direction direction : {kToShared, kToPrivate}) {
    for (const Call call : {Call::kAttributes, Call::kPopulateShared, Call::kPopulatePrivate}) {
      for (uint32_t nth : {0, 1}) {
        FakeGuest guest(SmallGuest());
        ASSERT_TRUE(guest.converter.Convert(6 * kMiB, kMiB, kToShared).has_value());
        ASSERT_TRUE(guest.converter.Convert(10 * kMiB, kMiB, kToShared).has_value());
        // The guest has not touched all of its private memory yet.
        for (uint64_t gpa = 5 * kMiB; gpa < 9 * kMiB; gpa += kPage) guest.memory.GuestWrite(gpa, gpa);
        for (uint64_t gpa = 10 * kMiB; gpa < 11 * kMiB; gpa += kPage) guest.memory.GuestWrite(gpa, gpa);
        const auto states = guest.pages.Read([](const PageStateMap& s) { return s.Runs(0, 16 * kMiB); });
        const auto memory = guest.memory.pages();
        const auto mapped = JoinRuns(guest.engine.Mapped());
        const bool reached =
            call == Call::kAttributes || (call == Call::kPopulateShared) == (direction == kToShared);

        guest.memory.FailCall(call, nth, ENOMEM);
        const auto done = guest.converter.Convert(5 * kMiB, 7 * kMiB, direction);

        ASSERT_EQ(done.has_value(), !reached);
        if (!reached) continue;
        EXPECT_EQ(done.status().code(), StatusCode::kResourceExhausted);
        EXPECT_EQ(guest.pages.Read([](const PageStateMap& s) { return s.Runs(0, 16 * kMiB); }), states);
        EXPECT_EQ(guest.memory.pages(), memory);
        EXPECT_EQ(JoinRuns(guest.engine.Mapped()), mapped);
        EXPECT_EQ(guest.converter.counters().undone, 1u);
      }
    }
  }
}

TEST(Converter, UndoesWhenDevicesCannotBeGivenOrDeniedAPage) {
  for (const Direction direction : {kToShared, kToPrivate}) {
    for (uint32_t nth : {0, 1, 300}) {
      FakeGuest guest(SmallGuest());
      ASSERT_TRUE(guest.converter.Convert(6 * kMiB, 4 * kMiB, kToShared).has_value());
      for (uint64_t gpa = 5 * kMiB; gpa < 12 * kMiB; gpa += kPage) guest.memory.GuestWrite(gpa, gpa);
      const auto states = guest.pages.Read([](const PageStateMap& s) { return s.Runs(0, 16 * kMiB); });
      const auto memory = guest.memory.pages();
      const auto mapped = guest.engine.Mapped();

      guest.iommu.FailCall(nth, EFAULT);
      const auto done = guest.converter.Convert(5 * kMiB, 7 * kMiB, direction);

      ASSERT_FALSE(done.has_value());
      EXPECT_EQ(guest.pages.Read([](const PageStateMap& s) { return s.Runs(0, 16 * kMiB); }), states);
      EXPECT_EQ(guest.memory.pages(), memory);
      EXPECT_EQ(guest.engine.Mapped(), mapped);
    }
  }
}

TEST(Converter, RefusesWhileSomebodyUsesSharedMemory) {
  FakeGuest guest(SmallGuest());
  ASSERT_TRUE(guest.converter.Convert(0, kMiB, kToShared).has_value());

  {
    const MemoryUse use(&guest.pages);
    ASSERT_EQ(guest.pages.Visible(4096, 100), 100u);
    EXPECT_EQ(guest.converter.Convert(0, kPage, kToPrivate).status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(guest.StateOf(0), PageState::kShared);
    EXPECT_TRUE(guest.converter.Convert(kMiB, kPage, kToShared).has_value());  // nobody can be using that
  }

  EXPECT_TRUE(guest.converter.Convert(0, kPage, kToPrivate).has_value());
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, WaitsForThoseWhoUseSharedMemory) {
  FakeGuest::Options options = SmallGuest();
  options.converter.drain_timeout = std::chrono::seconds(60);
  FakeGuest guest(options);
  ASSERT_TRUE(guest.converter.Convert(0, kMiB, kToShared).has_value());
  const uint64_t generation = guest.pages.generation();
  std::atomic<bool> left = false;
  std::thread converter;
  {
    const MemoryUse use(&guest.pages);
    converter = std::thread([&] {
      EXPECT_TRUE(guest.converter.Convert(0, kPage, kToPrivate).has_value());
      EXPECT_TRUE(left);
    });
    while (guest.pages.generation() == generation) std::this_thread::yield();
    EXPECT_EQ(guest.pages.Visible(0, 1), 0u);  // nobody new comes in
    left = true;
  }
  converter.join();
}

TEST(Converter, SucceedsWhenTheOldSideCannotBeDiscarded) {
  FakeGuest guest(SmallGuest());
  guest.memory.GuestWrite(0, 1);
  guest.memory.FailCall(Call::kDiscardPrivate, 0, EIO);

  ASSERT_TRUE(guest.converter.Convert(0, kPage, kToShared).has_value());

  EXPECT_EQ(guest.converter.counters().leaked_bytes, kPage);
  EXPECT_TRUE(guest.memory.At(0).has_private);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, SaysSoWhenUndoingFails) {
  class Broken final : public SharedMemoryListener {
   public:
    explicit Broken(FakeMemory& memory) : memory_(memory) {}
    Status OnShared(std::span<const StateRun> runs) override {
      if (runs.empty()) return OkStatus();  // at the start
      memory_.FailCall(Call::kAttributes, 0, EIO);
      return Internal("no");
    }
    Status OnPrivate(std::span<const StateRun>) override { return OkStatus(); }

   private:
    FakeMemory& memory_;
  };
  FakeGuest guest(SmallGuest());
  Broken broken(guest.memory);
  Converter converter(guest.pages, guest.memory, guest.memory, {&guest.listener, &broken}, {});

  const auto done = converter.Convert(0, kPage, kToShared);

  EXPECT_EQ(done.status().code(), StatusCode::kDataLoss);
  EXPECT_FALSE(guest.DmaReaches(0));
  EXPECT_EQ(guest.StateOf(0), PageState::kPrivate);
}

TEST(Converter, TriesAgainWhileSomebodyHoldsAPageThatServesBothSides) {
  FakeGuest::Options options = SmallGuest();
  options.converter.model = MemoryModel::kInPlace;
  FakeGuest guest(options);
  ASSERT_FALSE(guest.converter.Convert(0, kPage, kToShared).has_value() && guest.memory.At(0).has_shared);
  const uint64_t before = guest.converter.counters().attribute_calls;

  guest.memory.FailCall(Call::kAttributes, 0, EAGAIN);
  ASSERT_TRUE(guest.converter.Convert(0, kPage, kToPrivate).has_value());

  EXPECT_EQ(guest.converter.counters().attribute_calls - before, 2u);
  EXPECT_EQ(guest.converter.counters().populate_calls, 0u);
  EXPECT_EQ(guest.converter.counters().discard_calls, 0u);
}

TEST(Converter, GivesHugePagesBackWhenNoPartOfThemIsShared) {
  FakeGuest::Options options = SmallGuest();
  options.memory.shared_page_size = 2 * kMiB;
  options.converter.shared_page_sizes = {2 * kMiB, 2 * kMiB};
  FakeGuest guest(options);
  ASSERT_TRUE(guest.converter.Convert(2 * kMiB, 2 * kMiB, kToShared).has_value());

  ASSERT_TRUE(guest.converter.Convert(2 * kMiB, kMiB, kToPrivate).has_value());
  EXPECT_EQ(guest.converter.RetainedBytes(), kMiB);
  EXPECT_TRUE(guest.memory.At(2 * kMiB).has_shared);
  ASSERT_TRUE(guest.converter.Convert(3 * kMiB, kMiB, kToPrivate).has_value());

  EXPECT_EQ(guest.converter.RetainedBytes(), 0u);
  EXPECT_FALSE(guest.memory.At(2 * kMiB).has_shared);
  EXPECT_EQ(guest.converter.counters().leaked_bytes, 0u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(Converter, PlugsPrivateMemoryAndUnplugsWhatIsShared) {
  FakeGuest::Options options = SmallGuest();
  options.regions.push_back(
      {.base = 32 * kMiB, .size = 8 * kMiB, .host_node = 1, .initial = PageState::kUnplugged});
  FakeGuest guest(options);
  EXPECT_EQ(guest.converter.Convert(32 * kMiB, kPage, kToShared).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(guest.converter.Convert(32 * kMiB, kPage, kToPrivate).status().code(),
            StatusCode::kInvalidArgument);

  ASSERT_TRUE(guest.converter.Plug(32 * kMiB, 4 * kMiB).ok());
  EXPECT_TRUE(guest.memory.At(32 * kMiB).has_private);
  EXPECT_FALSE(guest.DmaReaches(32 * kMiB));
  EXPECT_EQ(guest.converter.Plug(34 * kMiB, 4 * kMiB).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(guest.converter.Convert(33 * kMiB, kMiB, kToShared).has_value());
  EXPECT_TRUE(guest.DmaReaches(33 * kMiB));

  ASSERT_TRUE(guest.converter.Unplug(32 * kMiB, 2 * kMiB).ok());
  EXPECT_EQ(guest.StateOf(33 * kMiB), PageState::kUnplugged);
  EXPECT_EQ(guest.StateOf(34 * kMiB), PageState::kPrivate);
  EXPECT_FALSE(guest.DmaReaches(33 * kMiB));
  EXPECT_FALSE(guest.memory.At(33 * kMiB).has_shared);
  EXPECT_FALSE(guest.memory.At(32 * kMiB).has_private);
  EXPECT_TRUE(guest.memory.At(33 * kMiB).is_private);
  EXPECT_EQ(guest.converter.Unplug(32 * kMiB, 2 * kMiB).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(guest.pages.Read([](const PageStateMap& s) { return s.NodeBytes(1, PageState::kUnplugged); }),
            6 * kMiB);
}

TEST(Converter, RefusesARangeThatAlternatesTooOften) {
  FakeGuest::Options options;
  const uint64_t size = (2 * kMaxConversionRuns + 2) * kPage;
  options.regions = {{.base = 0, .size = size}};
  FakeGuest guest(options);
  guest.pages.Change([&](PageStateMap& states) {
    for (uint64_t gpa = 0; gpa < size; gpa += 2 * kPage) states.Set(gpa, kPage, PageState::kShared);
  });

  EXPECT_EQ(guest.converter.Convert(0, size, kToShared).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(guest.pages.Read([](const PageStateMap& s) { return s.Bytes(PageState::kConverting); }), 0u);
}

}  // namespace
}  // namespace berth::vmm
