#include "common/mac_address.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(MacAddress, IsParsedStrictly) {
  EXPECT_EQ(*ParseMacAddress("52:54:00:12:34:56"), (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
  EXPECT_EQ(*ParseMacAddress("AA:bb:0c:00:00:01"), (MacAddress{0xaa, 0xbb, 0x0c, 0, 0, 1}));
  for (const char* bad :
       {"", "52:54:00:12:34", "52:54:00:12:34:5g", "52-54-00-12-34-56", "52:54:00:12:34:567",
        "01:00:00:00:00:00", "00:00:00:00:00:00", "+2:54:00:12:34:56", " 2:54:00:12:34:56"}) {
    EXPECT_EQ(ParseMacAddress(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(MacAddress, IsLocalAndUnicastWhenRandom) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(RandomMacAddress()[0] & 3, 2);
}

TEST(MacAddress, TextIsWhatIsParsed) {
  EXPECT_EQ(MacAddressText(*ParseMacAddress("AA:bb:0c:00:00:01")), "aa:bb:0c:00:00:01");
}

}  // namespace
}  // namespace berth
