#include "placement/rest/microversion.h"

#include <gtest/gtest.h>

namespace berth::placement::rest {
namespace {

using Kind = AskedVersion::Kind;

TEST(Microversion, IsTheSmallestOneWithoutAHeaderForThisService) {
  EXPECT_EQ(ParseVersionHeader("").version, kMinMicroversion);
  EXPECT_EQ(ParseVersionHeader("compute 2.90").version, kMinMicroversion);
  EXPECT_EQ(ParseVersionHeader("1.20").version, kMinMicroversion);
}

TEST(Microversion, IsWhatTheLastHeaderForThisServiceSays) {
  EXPECT_EQ(ParseVersionHeader("placement 1.17").version, (Microversion{1, 17}));
  EXPECT_EQ(ParseVersionHeader("compute 2.1, PLACEMENT  1.3 ,identity 3").version, (Microversion{1, 3}));
  EXPECT_EQ(ParseVersionHeader("placement 1.3, placement 1.4").version, (Microversion{1, 4}));
  EXPECT_EQ(ParseVersionHeader("placement latest").version, (Microversion{1, 39}));
}

TEST(Microversion, OutsideTheRangeIsUnacceptable) {
  for (const char* text : {"placement 0.5", "placement 1.40", "placement 2.0", "placement 1.-1"}) {
    EXPECT_NE(ParseVersionHeader(text).kind, Kind::kFound) << text;
  }
  AskedVersion asked = ParseVersionHeader("placement 0.5");
  EXPECT_EQ(asked.kind, Kind::kUnacceptable);
  EXPECT_EQ(asked.reason, "Invalid microversion: Unacceptable version header: 0.5");
}

TEST(Microversion, ThatIsNoVersionIsMalformed) {
  for (const char* text :
       {"placement pony.horse", "placement 1.2.3", "placement 1", "placement 99999999999.1"}) {
    AskedVersion asked = ParseVersionHeader(text);
    EXPECT_EQ(asked.kind, Kind::kMalformed) << text;
    EXPECT_NE(asked.reason.find("invalid version string: " + std::string(text).substr(10)),
              std::string::npos);
  }
}

}  // namespace
}  // namespace berth::placement::rest
