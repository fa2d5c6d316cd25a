#include <gtest/gtest.h>

#include "common/byte_size.h"
#include "common/pci_address.h"
#include "common/uuid.h"

namespace berth {
namespace {

TEST(PciAddress, RoundTripsAndIsCaseInsensitive) {
  EXPECT_EQ(PciAddress::Parse("FFFF:ff:1F.7")->ToString(), "ffff:ff:1f.7");
}

TEST(PciAddress, FieldsAboveTheSeedsLimitsAreOutOfRangeAndNamed) {
  EXPECT_EQ(PciAddress::Parse("10000:00:00.0").status().field(), "domain");
  EXPECT_EQ(PciAddress::Parse("0000:100:00.0").status().field(), "bus");
  EXPECT_EQ(PciAddress::Parse("0000:00:20.0").status().field(), "slot");
  EXPECT_EQ(PciAddress::Parse("0000:00:00.8").status().field(), "function");
  EXPECT_EQ(PciAddress::Parse("0000:00:00.8").status().code(), StatusCode::kOutOfRange);
}

TEST(PciAddress, OtherTextIsInvalid) {
  for (const char* text :
       {"", "0000:00:00", "0000:00.0", "00:00:00.0", "0000:00:00.", "0000:0g:00.0", "0000:00:00.0 "}) {
    EXPECT_EQ(PciAddress::Parse(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ByteSize, ParsesOneSuffixOnly) {
  EXPECT_EQ(ByteSize::Parse("512M")->bytes(), uint64_t{512} << 20);
  EXPECT_EQ(ByteSize::Parse(" 1GiB ")->bytes(), uint64_t{1} << 30);
  EXPECT_EQ(ByteSize::Parse("2t")->bytes(), uint64_t{2} << 40);
  EXPECT_EQ(ByteSize::Parse("17")->bytes(), 17u);
  for (const char* text : {"", "M", "1KMG", "-1", "1.5G", "1 G B", "1Gi"}) {
    EXPECT_EQ(ByteSize::Parse(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ByteSize, OverflowIsAnErrorNeverAWrap) {
  EXPECT_EQ(ByteSize::Parse("16777216T").status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(ByteSize::Parse("18446744073709551616").status().code(), StatusCode::kOutOfRange);
  EXPECT_FALSE(ByteSize(UINT64_MAX).Plus(ByteSize(1)).has_value());
  EXPECT_FALSE(ByteSize(0).Minus(ByteSize(1)).has_value());
  EXPECT_FALSE(GiB(1).Times(UINT64_MAX).has_value());
  EXPECT_FALSE(ByteSize(UINT64_MAX).RoundedUpTo(MiB(2)).has_value());
}

TEST(ByteSize, PrintsExactlyAndForPeople) {
  EXPECT_EQ(GiB(2).ToString(), "2G");
  EXPECT_EQ(ByteSize(1500 << 10).ToString(), "1500K");
  EXPECT_EQ(ByteSize(1536 << 20).ToHuman(), "1.50 GiB");
  EXPECT_EQ(ByteSize(12).ToHuman(), "12 B");
}

TEST(Uuid, RoundTripsAndRefusesOtherText) {
  Uuid uuid = Uuid::Random();
  EXPECT_EQ(*Uuid::Parse(uuid.ToString()), uuid);
  EXPECT_EQ(uuid.ToString()[14], '4');
  EXPECT_NE(Uuid::Random(), uuid);
  for (const char* text :
       {"", "x", "4e8e1c2a-0000-0000-0000-00000000000g", "4e8e1c2a00000000-0000-0000-000000000000"}) {
    EXPECT_FALSE(Uuid::Parse(text).has_value()) << text;
  }
}

TEST(Uuid, FromNameDependsOnBothInputs) {
  Uuid a = Uuid::Random();
  EXPECT_EQ(Uuid::FromName(a, "x"), Uuid::FromName(a, "x"));
  EXPECT_NE(Uuid::FromName(a, "x"), Uuid::FromName(a, "y"));
  EXPECT_NE(Uuid::FromName(a, "x"), Uuid::FromName(Uuid::Random(), "x"));
}

}  // namespace
}  // namespace berth
