#include "vmm/config/hotplug_plan.h"

#include <gtest/gtest.h>

#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

MemoryZoneConfig Zone(std::string id, std::optional<ByteSize> hotplug) {
  MemoryZoneConfig zone;
  zone.id = std::move(id);
  zone.size = GiB(1);
  zone.hotplug_size = hotplug;
  return zone;
}

TEST(HotplugPlan, AreasLieAboveRamOnSectionBoundaries) {
  const std::vector<MemoryZoneConfig> zones = {Zone("a", MiB(130)), Zone("b", std::nullopt),
                                               Zone("c", GiB(1))};

  auto areas = PlanHotplug(HotplugMethod::kVirtioMem, zones, {4096, 4096, 4096}, layout::kHighRam + 4096);

  ASSERT_EQ(areas.size(), 2u);
  EXPECT_EQ(areas[0], (HotplugArea{"a", layout::kHighRam + kHotplugAlignment, 130u << 20, 2u << 20, 0}));
  EXPECT_EQ(areas[1].zone, "c");
  EXPECT_EQ(areas[1].base, layout::kHighRam + 3 * kHotplugAlignment);
}

TEST(HotplugPlan, ASmallGuestGrowsAboveTheHole) {
  auto areas = PlanHotplug(HotplugMethod::kAcpi, {Zone("mem0", GiB(1))}, {4096}, uint64_t{512} << 20);

  ASSERT_EQ(areas.size(), 1u);
  EXPECT_EQ(areas[0].base, layout::kHighRam);
  EXPECT_EQ(areas[0].block, kHotplugAlignment);
}

TEST(HotplugPlan, HugePagesMakeLargerBlocksAndBoundaries) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;

  auto areas =
      PlanHotplug(HotplugMethod::kVirtioMem, {Zone("a", GiB(2))}, {kGiB}, layout::kHighRam + kGiB / 2);

  EXPECT_EQ(areas[0].base, layout::kHighRam + kGiB);
  EXPECT_EQ(areas[0].block, kGiB);
}

}  // namespace
}  // namespace berth::vmm
