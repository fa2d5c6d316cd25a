#include "common/http/message.h"

#include <gtest/gtest.h>

namespace berth::http {
namespace {

TEST(HttpHeaders, CompareNamesWithoutCaseAndJoinRepeatedOnes) {
  Headers headers;
  headers.Add("OpenStack-API-Version", "compute 2.1");
  headers.Add("openstack-api-version", "placement 1.2");
  headers.Set("ACCEPT", "a");
  headers.Set("accept", "b");

  EXPECT_EQ(headers.Get("OPENSTACK-API-VERSION"), "compute 2.1, placement 1.2");
  EXPECT_EQ(headers.Get("Accept"), "b");
  EXPECT_EQ(headers.Find("nothing"), nullptr);
  EXPECT_EQ(headers.fields().size(), 2u);
}

TEST(HttpMessage, DecodesPercentAndRefusesBrokenOnes) {
  std::string decoded;
  EXPECT_TRUE(PercentDecode("a%20b%e2%98%83+", &decoded));
  EXPECT_EQ(decoded, "a b\xe2\x98\x83+");
  EXPECT_FALSE(PercentDecode("%", &decoded));
  EXPECT_FALSE(PercentDecode("%2", &decoded));
  EXPECT_FALSE(PercentDecode("%zz", &decoded));
}

TEST(HttpMessage, WritesDatesAsRfc9110Says) {
  EXPECT_EQ(FormatHttpDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

}  // namespace
}  // namespace berth::http
