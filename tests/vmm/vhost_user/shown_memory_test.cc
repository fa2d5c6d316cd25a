#include "vmm/vhost_user/shown_memory.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

// Pieces of shared memory as a back end is told of them: beside one flag a page.
namespace berth::vmm::vhost_user {
namespace {

using Piece = ShownMemory::Piece;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kHuge = 8 * kPage;  // of the second region's backing

StateRun SharedRun(uint64_t first_page, uint64_t pages) {
  return {first_page * kPage, pages * kPage, PageState::kShared};
}

class ShownMemoryTest : public testing::Test {
 protected:
  ShownMemoryTest() : bytes_(96 * kPage) {
    MemoryRegion small;
    small.size = 32 * kPage;
    small.host = bytes_.data();
    small.fd_offset = 3 * kPage;
    MemoryRegion huge = small;
    huge.base = Gpa{32 * kPage};
    huge.host = bytes_.data() + small.size;
    huge.size = 64 * kPage;
    huge.page_size = kHuge;
    MemoryRegion far = small;
    far.base = Gpa{96 * kPage};
    memory_ = GuestMemory({small, huge, far});
  }
  static std::vector<Piece> Pages(std::vector<std::pair<uint64_t, uint64_t>> pages) {
    std::vector<Piece> pieces;
    for (auto [first, count] : pages) pieces.push_back({first * kPage, count * kPage});
    return pieces;
  }

  std::vector<uint8_t> bytes_;
  GuestMemory memory_;
};

TEST_F(ShownMemoryTest, WhatIsSharedIsAPieceOfItsOwn) {
  ShownMemory shown(memory_);
  shown.Show(std::vector{SharedRun(4, 2), SharedRun(10, 1)});
  EXPECT_EQ(shown.Pieces(), Pages({{4, 2}, {10, 1}}));
  shown.Show(std::vector{SharedRun(5, 3)});  // a piece in use is not taken apart for it
  EXPECT_EQ(shown.Pieces(), Pages({{4, 2}, {6, 2}, {10, 1}}));
  shown.Join();
  EXPECT_EQ(shown.Pieces(), Pages({{4, 4}, {10, 1}}));
  const MemoryRegion at = shown.At({4 * kPage, 4 * kPage});
  EXPECT_EQ(at.host, bytes_.data() + 4 * kPage);
  EXPECT_EQ(at.fd_offset, 7 * kPage);
}

TEST_F(ShownMemoryTest, WhatBecomesPrivateCutsPieces) {
  ShownMemory shown(memory_);
  shown.Show(std::vector{SharedRun(4, 8)});
  const ShownMemory before = shown;
  shown.Hide(std::vector{SharedRun(6, 2), SharedRun(20, 2)});
  EXPECT_EQ(shown.Pieces(), Pages({{4, 2}, {8, 4}}));
  const auto changes = ShownMemory::Between(before, shown);
  EXPECT_EQ(changes.removed, Pages({{4, 8}}));
  EXPECT_EQ(changes.added, Pages({{4, 2}, {8, 4}}));
}

TEST_F(ShownMemoryTest, NoPartOfAHugePageIsMappedAlone) {
  ShownMemory shown(memory_);
  shown.Show(std::vector{SharedRun(33, 1), SharedRun(35, 1)});
  EXPECT_EQ(shown.Pieces(), Pages({{32, 8}}));
  shown.Hide(std::vector{SharedRun(33, 1)});
  EXPECT_EQ(shown.Pieces(), Pages({{32, 8}}));
  shown.Hide(std::vector{SharedRun(35, 1)});
  EXPECT_EQ(shown.count(), 0u);
}

TEST_F(ShownMemoryTest, PiecesEndWithTheirFiles) {
  ShownMemory shown(memory_);
  shown.Show(std::vector{SharedRun(24, 16)});
  EXPECT_EQ(shown.Pieces(), Pages({{24, 8}, {32, 8}}));
  shown.Join();
  EXPECT_EQ(shown.Pieces(), Pages({{24, 8}, {32, 8}}));
  shown.Hide(std::vector{SharedRun(31, 1)});
  EXPECT_EQ(shown.Pieces(), Pages({{24, 7}, {32, 8}}));
}

TEST_F(ShownMemoryTest, MemoryOutsideOfAllRegionsIsNobodys) {
  ShownMemory shown(memory_);
  shown.Show(std::vector{SharedRun(200, 4)});
  EXPECT_EQ(shown.count(), 0u);
}

TEST_F(ShownMemoryTest, RandomChangesEqualAFlagForEachPage) {
  constexpr uint64_t kPages = 128;
  std::mt19937 random(1);
  ShownMemory shown(memory_);
  std::vector<bool> shared(kPages, false);
  for (int step = 0; step < 20000; ++step) {
    const uint64_t first = random() % kPages;
    const uint64_t count = 1 + random() % std::min<uint64_t>(kPages - first, 12);
    const bool show = random() % 2 == 0;
    const ShownMemory before = shown;
    if (show) {
      shown.Show(std::vector{SharedRun(first, count)});
    } else {
      shown.Hide(std::vector{SharedRun(first, count)});
    }
    for (uint64_t i = first; i < first + count; ++i) shared[i] = show;
    if (random() % 16 == 0) shown.Join();

    std::vector<bool> expected = shared;
    for (uint64_t i = 32; i < 96; i += 8) {
      bool any = false;
      for (uint64_t k = i; k < i + 8; ++k) any = any || shared[k];
      for (uint64_t k = i; k < i + 8; ++k) expected[k] = any;
    }
    std::vector<bool> seen(kPages, false);
    std::vector<Piece> pieces = before.Pieces();
    const auto changes = ShownMemory::Between(before, shown);
    for (const Piece& piece : changes.removed) ASSERT_EQ(std::erase(pieces, piece), 1u);
    pieces.insert(pieces.end(), changes.added.begin(), changes.added.end());
    for (const Piece& piece : pieces) {
      for (uint64_t i = piece.base / kPage; i < (piece.base + piece.size) / kPage; ++i) {
        ASSERT_FALSE(seen[i]) << "page " << i << " in two pieces, step " << step;
        seen[i] = true;
      }
    }
    ASSERT_EQ(seen, expected) << "step " << step;
  }
}

}  // namespace
}  // namespace berth::vmm::vhost_user
