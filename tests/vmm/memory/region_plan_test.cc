#include "vmm/memory/region_plan.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace berth::vmm {
namespace {

constexpr uint64_t kSmall = 4096, kLarge = 1 << 30;

MemoryZoneConfig Zone(const std::string& id, ByteSize size) {
  MemoryZoneConfig zone;
  zone.id = id;
  zone.size = size;
  return zone;
}

TEST(RegionPlan, PutsASmallZoneAtZero) {
  std::vector<RegionPlan> expected = {{0, Gpa{0}, 512 << 20}};
  EXPECT_EQ(*PlanRegions({Zone("a", MiB(512))}, {kSmall}), expected);
}

TEST(RegionPlan, SplitsAZoneAtTheHole) {
  auto plan =
      *PlanRegions({Zone("a", GiB(2)), Zone("b", GiB(2)), Zone("c", GiB(1))}, {kSmall, kSmall, kSmall});

  std::vector<RegionPlan> expected = {{0, Gpa{0}, 2ull << 30},
                                      {1, Gpa{2ull << 30}, 1ull << 30},
                                      {1, Gpa{4ull << 30}, 1ull << 30},
                                      {2, Gpa{5ull << 30}, 1ull << 30}};
  EXPECT_EQ(plan, expected);
}

TEST(RegionPlan, StartsAboveTheHoleWhenLowMemoryIsJustFull) {
  std::vector<RegionPlan> expected = {{0, Gpa{0}, 3ull << 30}, {1, Gpa{4ull << 30}, 4096}};
  EXPECT_EQ(*PlanRegions({Zone("a", GiB(3)), Zone("b", KiB(4))}, {kSmall, kSmall}), expected);
}

TEST(RegionPlan, NeverCutsAHugePage) {
  // 1.5 GiB of small pages leave 1.5 GiB below the hole: one page of 1 GiB, the other goes above.
  auto plan = *PlanRegions({Zone("a", MiB(1536)), Zone("b", GiB(2))}, {kSmall, kLarge});

  std::vector<RegionPlan> expected = {
      {0, Gpa{0}, 1536ull << 20}, {1, Gpa{1536ull << 20}, 1ull << 30}, {1, Gpa{4ull << 30}, 1ull << 30}};
  EXPECT_EQ(plan, expected);
}

TEST(RegionPlan, RefusesSizesThatAreNoWholePages) {
  EXPECT_EQ(PlanRegions({Zone("a", MiB(1536))}, {kLarge}).status().message(),
            "size 1536M is not a multiple of the page size 1G");
  EXPECT_EQ(PlanRegions({Zone("a", ByteSize())}, {kSmall}).status().code(), StatusCode::kInvalidArgument);
}

TEST(RegionPlan, RefusesMoreThanTheAddressSpace) {
  EXPECT_EQ(PlanRegions({Zone("a", ByteSize(uint64_t{1} << 52))}, {kSmall}).status().code(),
            StatusCode::kOutOfRange);
  EXPECT_EQ(PlanRegions({Zone("a", GiB(3)), Zone("b", ByteSize(UINT64_MAX - 4095))}, {kSmall, kSmall})
                .status()
                .code(),
            StatusCode::kOutOfRange);
}

TEST(RegionPlan, KeepsItsPromisesForAnyZones) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; round++) {
    std::vector<MemoryZoneConfig> zones;
    std::vector<uint64_t> pages;
    for (uint32_t i = 0; i <= random() % 6; i++) {
      pages.push_back(std::vector<uint64_t>{4096, 2 << 20, 1 << 30}[random() % 3]);
      zones.push_back(Zone("z" + std::to_string(i), ByteSize(pages.back() * (1 + random() % 5))));
    }

    auto plan = *PlanRegions(zones, pages);

    std::vector<uint64_t> sums(zones.size());
    uint64_t end = 0;
    for (const RegionPlan& piece : plan) {
      uint64_t base = Raw(piece.base);
      EXPECT_GE(base, end);                                                // in order, no overlap
      EXPECT_TRUE(base + piece.size <= 3ull << 30 || base >= 4ull << 30);  // outside the hole
      EXPECT_EQ(piece.size % pages[piece.zone], 0u);
      sums[piece.zone] += piece.size;
      end = base + piece.size;
    }
    for (size_t i = 0; i < zones.size(); i++) EXPECT_EQ(sums[i], zones[i].size.bytes());
  }
}

}  // namespace
}  // namespace berth::vmm
