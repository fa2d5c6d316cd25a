#include "db/record_codec.h"

#include <gtest/gtest.h>

#include "tests/placement/wire/random_values.h"

namespace berth::db {
namespace {

using placement::testing::RandomValues;

TEST(RecordCodec, RecordsComeBackAsTheyWere) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    auto host = RandomValues(seed).AnyHost();
    auto claim = RandomValues(seed).AnyClaim();
    auto host_back = DecodeReport(EncodeReport(host));
    auto claim_back = DecodeClaim(EncodeClaim(claim));
    ASSERT_TRUE(host_back.has_value() && claim_back.has_value()) << seed;
    ASSERT_EQ(*host_back, host) << seed;
    ASSERT_EQ(*claim_back, claim) << seed;
  }
}

TEST(RecordCodec, RefusesEveryCutAndSurvivesEveryChangedByte) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::string bytes = EncodeClaim(RandomValues(seed).AnyClaim());
    for (size_t length = 0; length < bytes.size(); ++length) {
      ASSERT_FALSE(DecodeClaim(bytes.substr(0, length)).has_value()) << seed << " cut at " << length;
    }
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
        Result<placement::Claim> claim = DecodeClaim(changed);
        if (claim) continue;
        ASSERT_EQ(claim.error().code(), StatusCode::kDataLoss);
      }
    }
  }
}

TEST(RecordCodec, NamesAnUnknownVersion) {
  std::string bytes = EncodeClaim({});
  bytes[0] = 9;
  EXPECT_EQ(DecodeClaim(bytes).error().message(), "claim of version 9, known are 1 to 6");
}

}  // namespace
}  // namespace berth::db
