#include "placement/model/names.h"

#include <gtest/gtest.h>

namespace berth::placement {
namespace {

TEST(Names, StandardNamesAreKeptInAnyLetterCase) {
  EXPECT_EQ(*NormalizeResourceClass("pgpu"), "PGPU");
  EXPECT_EQ(*NormalizeTrait("hw_gpu_api_vulkan"), "HW_GPU_API_VULKAN");
}

TEST(Names, OtherNamesBecomeCustomNames) {
  EXPECT_EQ(*NormalizeResourceClass("my gpu--v2"), "CUSTOM_MY_GPU_V2");
  EXPECT_EQ(*NormalizeResourceClass("custom_gold"), "CUSTOM_GOLD");
  EXPECT_EQ(*NormalizeTrait("Blue"), "CUSTOM_BLUE");
}

TEST(Names, TraitsOfAListLoseTheirBlanksAndAreSortedAndUnique) {
  EXPECT_EQ(*NormalizeTraits("blue, big,,BLUE , hw_nic_sriov"),
            (std::vector<std::string>{"CUSTOM_BIG", "CUSTOM_BLUE", "HW_NIC_SRIOV"}));
  EXPECT_TRUE(NormalizeTraits("")->empty());
}

TEST(Names, EmptyAndTooLongNamesAreRefused) {
  EXPECT_EQ(NormalizeResourceClass("  ").error().message(), "resource class is empty");
  EXPECT_EQ(NormalizeResourceClass(std::string(248, 'a'))->size(), 255u);
  EXPECT_EQ(NormalizeResourceClass(std::string(249, 'a')).error().message(),
            "resource class has 256 characters with its prefix, at most 255 are allowed");
}

TEST(Names, TheDefaultClassOfAPciDeviceNamesVendorAndProduct) {
  EXPECT_EQ(DefaultPciResourceClass("8086", "154d"), "CUSTOM_PCI_8086_154D");
}

}  // namespace
}  // namespace berth::placement
