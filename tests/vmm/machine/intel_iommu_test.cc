#include "vmm/machine/intel_iommu.h"

#include <gtest/gtest.h>

namespace berth::vmm {
namespace {

uint64_t Bits(uint32_t width) {
  return (uint64_t{1} << width) - 1;
}

TEST(IntelIommu, HasAsManyAddressesAsTheHostButNoOddNumberOfThem) {
  EXPECT_EQ(ChooseIntelWidth({}, UINT64_MAX), 48u);
  EXPECT_EQ(ChooseIntelWidth({}, Bits(48)), 48u);
  EXPECT_EQ(ChooseIntelWidth({}, Bits(48) - 1), 39u);
  EXPECT_EQ(ChooseIntelWidth({}, Bits(39)), 39u);
  PlatformConfig platform;
  platform.iommu_address_width = 39;
  EXPECT_EQ(ChooseIntelWidth(platform, UINT64_MAX), 39u);
}

TEST(IntelIommu, RefusesMoreAddressesThanTheHostHas) {
  PlatformConfig platform;
  EXPECT_EQ(ChooseIntelWidth(platform, Bits(36)).error().code(), StatusCode::kFailedPrecondition);
  platform.iommu_address_width = 48;
  const auto refused = ChooseIntelWidth(platform, Bits(46));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.error().field(), "platform iommu_address_width");
  EXPECT_EQ(refused.error().hint(), "39 bits fit");
}

}  // namespace
}  // namespace berth::vmm
