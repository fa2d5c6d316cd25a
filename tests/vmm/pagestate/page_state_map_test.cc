#include "vmm/pagestate/page_state_map.h"

#include <gtest/gtest.h>

#include <random>

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;
constexpr auto kPrivate = PageState::kPrivate;
constexpr auto kShared = PageState::kShared;
constexpr auto kUnplugged = PageState::kUnplugged;

PageStateMap Make(std::vector<StateRegion> regions) {
  auto map = PageStateMap::Create(std::move(regions));
  EXPECT_TRUE(map.has_value()) << map.status().ToString();
  return *std::move(map);
}

TEST(PageStateMap, JoinsNeighboursThatAreAlikeAcrossChunksAndGiBs) {
  PageStateMap map = Make({{.base = 0, .size = 3 * kGiB}});

  map.Set(kGiB - 5 * kMiB, 4 * kMiB, kShared);
  map.Set(kGiB - kMiB, kGiB + 3 * kMiB, kShared);

  EXPECT_EQ(map.Runs(0, 3 * kGiB), (std::vector<StateRun>{{0, kGiB - 5 * kMiB, kPrivate},
                                                          {kGiB - 5 * kMiB, kGiB + 7 * kMiB, kShared},
                                                          {2 * kGiB + 2 * kMiB, kGiB - 2 * kMiB, kPrivate}}));
}

TEST(PageStateMap, GivesBackWhatItReplaced) {
  PageStateMap map = Make({{.base = kGiB, .size = 8 * kMiB}});
  map.Set(kGiB + 4096, 4096, kShared);
  map.Set(kGiB + 4 * kMiB, kMiB, kUnplugged);
  const auto before = map.Runs(kGiB, 8 * kMiB);

  const StateJournal journal = map.Set(kGiB, 8 * kMiB, kShared);

  EXPECT_EQ(journal.size(), 4u);  // what was shared already has not changed
  EXPECT_EQ(map.Bytes(kShared), 8 * kMiB);
  map.Restore(journal);
  EXPECT_EQ(map.Runs(kGiB, 8 * kMiB), before);
}

TEST(PageStateMap, ReplacesPagesInOneStateOnly) {
  PageStateMap map = Make({{.base = 0, .size = 4 * kMiB}});
  map.Set(kMiB, kMiB, kShared);
  map.Set(2 * kMiB, kMiB, kUnplugged);

  map.Replace(0, 4 * kMiB, kShared, PageState::kConverting);

  EXPECT_EQ(map.Bytes(PageState::kConverting), kMiB);
  EXPECT_EQ(map.Bytes(kPrivate), 2 * kMiB);
  EXPECT_EQ(map.At(kMiB), PageState::kConverting);
  EXPECT_EQ(map.At(3 * kMiB), kPrivate);
}

TEST(PageStateMap, CountsByRegionAndHostNode) {
  PageStateMap map = Make({{.base = 0, .size = kGiB, .host_node = 0},
                           {.base = kGiB, .size = kGiB, .host_node = 2},
                           {.base = 4 * kGiB, .size = kGiB, .host_node = 0},
                           {.base = 8 * kGiB, .size = kGiB, .host_node = {}, .initial = kUnplugged}});

  map.Set(kGiB - kMiB, 2 * kMiB, kShared);
  map.Set(4 * kGiB, kMiB, kShared);

  EXPECT_EQ(map.NodeBytes(0, kShared), 2 * kMiB);
  EXPECT_EQ(map.NodeBytes(2, kShared), kMiB);
  EXPECT_EQ(map.NodeBytes(0, kPrivate), 2 * kGiB - 2 * kMiB);
  EXPECT_EQ(map.NodeBytes(1, kPrivate), 0u);
  EXPECT_EQ(map.RegionBytes(2, kShared), kMiB);
  EXPECT_EQ(map.Bytes(kUnplugged), kGiB);
}

TEST(PageStateMap, TellsHowFarAStateReaches) {
  PageStateMap map = Make({{.base = kMiB, .size = 4 * kMiB}, {.base = 5 * kMiB, .size = kMiB}});
  map.Set(2 * kMiB, 4 * kMiB, kShared);

  EXPECT_EQ(map.BytesIn(kShared, 2 * kMiB + 100, 8), 8u);
  EXPECT_EQ(map.BytesIn(kShared, 2 * kMiB + 100, 16 * kMiB), 3 * kMiB - 100);  // up to the region's end
  EXPECT_EQ(map.BytesIn(kShared, 2 * kMiB - 1, 2), 0u);
  EXPECT_EQ(map.BytesIn(kPrivate, 2 * kMiB - 1, 2), 1u);
  EXPECT_EQ(map.BytesIn(kPrivate, 2 * kMiB + 1, 2 * kMiB), 0u);
  EXPECT_EQ(map.BytesIn(kShared, 16 * kMiB, 1), 0u);
  EXPECT_EQ(map.BytesIn(kShared, 0, 1), 0u);
}

TEST(PageStateMap, LeavesOutWhatIsInNoRegion) {
  PageStateMap map = Make({{.base = kMiB, .size = kMiB}, {.base = 3 * kMiB, .size = kMiB}});

  const StateJournal journal = map.Set(0, 16 * kMiB, kShared);

  EXPECT_EQ(journal, (StateJournal{{kMiB, kMiB, kPrivate}, {3 * kMiB, kMiB, kPrivate}}));
  EXPECT_EQ(map.At(2 * kMiB), std::nullopt);
}

TEST(PageStateMap, RefusesRegionsThatAreNoPagesOrOverlap) {
  EXPECT_EQ(PageStateMap::Create({{.base = 1, .size = 4096}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(PageStateMap::Create({{.base = 0, .size = 0}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(PageStateMap::Create({{.base = 0, .size = 8192}, {.base = 4096, .size = 4096}}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(PageStateMap::Create({{.base = uint64_t{1} << 52, .size = 4096}}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(PageStateMap, TakesNextToNothingWhileAGiBIsAlike) {
  PageStateMap map = Make({{.base = 0, .size = 1024 * kGiB}});
  const uint64_t empty = map.memory_bytes();

  map.Set(0, 512 * kGiB, kShared);

  EXPECT_EQ(map.memory_bytes(), empty);
  EXPECT_LE(empty, 1024u * 16 + 1024);
}

TEST(PageStateMap, GivesMemoryBackWhenPagesAreAlikeAgain) {
  PageStateMap map = Make({{.base = 0, .size = kGiB}});
  const uint64_t empty = map.memory_bytes();
  for (uint64_t gpa = 0; gpa < kGiB; gpa += 8192) map.Set(gpa, 4096, kShared);
  const uint64_t full = map.memory_bytes();

  map.Set(0, kGiB, kPrivate);
  for (uint64_t gpa = 0; gpa < kGiB; gpa += 8192) map.Set(gpa, 4096, kShared);

  EXPECT_EQ(map.memory_bytes(), full);  // the pool's blocks are used again
  EXPECT_GT(full, empty);
}

// The bound that a guest cannot get over, in whatever order it alternates its pages: the worst is to fill
// blocks with slots of one size, to free most of them, and to fill the next size.
TEST(PageStateMap, TakesAtMost72KiBPerGiBWhateverTheGuestDoes) {
  constexpr uint64_t kGiBs = 1;
  constexpr uint64_t kBound = kGiBs * 72 * 1024;
  PageStateMap map = Make({{.base = 0, .size = kGiBs * kGiB}});
  uint64_t worst = 0;
  for (const uint64_t runs_per_chunk : {2, 12, 24, 256, 3, 256, 12}) {
    for (uint64_t chunk = 0; chunk < kGiBs * 512; ++chunk) {
      if (runs_per_chunk == 3 && chunk % 8 != 0) continue;
      map.Set(chunk * kStateChunk, kStateChunk, kPrivate);
      for (uint64_t i = 0; i < runs_per_chunk; ++i) {
        map.Set(chunk * kStateChunk + i * 8192, 4096, kShared);
      }
      worst = std::max(worst, map.memory_bytes());
    }
  }
  EXPECT_LE(worst, kBound);
  EXPECT_GT(worst, kBound * 8 / 10);  // the test does reach the worst case
}

TEST(PageStateMap, TakesAtMost4KiBPerGiBForATypicalGuest) {
  constexpr uint64_t kSize = 64 * kGiB;
  PageStateMap map = Make({{.base = 0, .size = kSize}});
  std::mt19937_64 random(1);

  map.Set(kGiB, kGiB, kShared);  // bounce buffers
  for (int i = 0; i < 2000; ++i) {
    const uint64_t pages = 1 + random() % 16;
    map.Set(random() % (kSize / 4096 - pages) * 4096, pages * 4096, kShared);
  }

  EXPECT_LE(map.memory_bytes(), 64u * 4 * 1024);
}

TEST(PageStateMap, IsReadBackAsItWasWritten) {
  PageStateMap map = Make({{.base = 0, .size = 3 * kGiB, .host_node = 1},
                           {.base = 4 * kGiB, .size = 6 * kMiB, .host_node = {}, .initial = kUnplugged}});
  std::mt19937_64 random(2);
  for (int i = 0; i < 1000; ++i) map.Set(random() % (3 * kGiB / 4096) * 4096, 8192, kShared);

  const auto bytes = map.Serialize();
  ASSERT_TRUE(bytes.has_value());
  const auto again = PageStateMap::Parse(*bytes);

  ASSERT_TRUE(again.has_value()) << again.status().ToString();
  EXPECT_EQ(again->Runs(0, 8 * kGiB), map.Runs(0, 8 * kGiB));
  EXPECT_EQ(again->NodeBytes(1, kShared), map.NodeBytes(1, kShared));
  EXPECT_EQ(*again->Serialize(), *bytes);
  for (size_t cut = 0; cut < bytes->size(); cut += 1 + bytes->size() / 97) {
    EXPECT_FALSE(PageStateMap::Parse(std::span(*bytes).first(cut)).has_value()) << cut;
  }
}

TEST(PageStateMap, IsNotWrittenWhileAPageIsBeingConverted) {
  PageStateMap map = Make({{.base = 0, .size = kMiB}});
  map.Set(0, 4096, PageState::kConverting);

  EXPECT_EQ(map.Serialize().status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace berth::vmm
