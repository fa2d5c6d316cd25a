#include "compute-agent/inventory/sysfs_values.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

TEST(SysfsValues, CpuMaskWordsAre32BitsWithTheHighestFirst) {
  EXPECT_EQ(ParseCpuMask("0000,00000011,11111111\n")->ToString(), "0,4,8,12,16,20,24,28,32,36");
  EXPECT_EQ(ParseCpuMask("3")->ToString(), "0-1");
  EXPECT_EQ(ParseCpuMask("80000000,00000000")->ToString(), "63");
}

TEST(SysfsValues, CpuMasksThatAreNoneAreRefused) {
  for (const char* text : {"", ",", "g", "0x3", "123456789", "1,,2", "-1"}) {
    EXPECT_EQ(ParseCpuMask(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
  std::string endless = "1";
  for (int i = 0; i < 3000; ++i) endless += ",00000000";
  EXPECT_EQ(ParseCpuMask(endless).status().code(), StatusCode::kOutOfRange);
}

TEST(SysfsValues, NumbersMustBeWholeAndInRange) {
  EXPECT_EQ(*ParseUnsigned(" 512\n"), 512u);
  EXPECT_EQ(ParseUnsigned("3", 2).status().code(), StatusCode::kOutOfRange);
  for (const char* text : {"", "-1", "1 2", "0x10", "18446744073709551616"}) {
    EXPECT_FALSE(ParseUnsigned(text).has_value()) << text;
  }
}

TEST(SysfsValues, MinusOneIsAnUnknownNode) {
  EXPECT_EQ(*ParseOptionalId("-1\n"), std::nullopt);
  EXPECT_EQ(*ParseOptionalId("0\n"), 0u);
  EXPECT_FALSE(ParseOptionalId("-2").has_value());
}

TEST(SysfsValues, HexadecimalIdsKeepTheirWidth) {
  EXPECT_EQ(*ParseHexId("0x8086\n", 4), 0x8086u);
  EXPECT_EQ(*ParseHexId("0x020000\n", 6), 0x020000u);
  for (const char* text : {"8086", "0x", "0x12345", "0xzz"}) EXPECT_FALSE(ParseHexId(text, 4)) << text;
}

TEST(SysfsValues, MeminfoOfANodeAndOfTheMachineAreReadAlike) {
  Result<Meminfo> node = ParseMeminfo("Node 12 MemTotal:  1024 kB\nNode 12 HugePages_Total:  3\n");
  EXPECT_EQ(node->total_bytes, uint64_t{1} << 20);
  EXPECT_EQ(node->huge_total, 3u);
  EXPECT_EQ(node->free_bytes, std::nullopt);
  EXPECT_EQ(ParseMeminfo("Hugepagesize:  2048 kB\n")->huge_size_bytes, uint64_t{2} << 20);
  EXPECT_FALSE(ParseMeminfo("MemTotal: lots kB\n").has_value());
  EXPECT_EQ(ParseMeminfo("MemTotal: 18446744073709551615 kB\n").status().code(), StatusCode::kOutOfRange);
}

TEST(SysfsValues, OsReleaseValuesLoseTheirQuotes) {
  const char* text = "NAME=Debian\nPRETTY_NAME=\"A \\\"quoted\\\" name\"\nID='x y'\n";
  EXPECT_EQ(OsReleaseValue(text, "PRETTY_NAME"), "A \"quoted\" name");
  EXPECT_EQ(OsReleaseValue(text, "ID"), "x y");
  EXPECT_EQ(OsReleaseValue(text, "VERSION_ID"), "");
}

TEST(SysfsValues, ExcerptsAreShortAndPrintable) {
  EXPECT_EQ(Excerpt(std::string_view("a\x01\xff z", 5)), "a\\x01\\xff z");
  EXPECT_LE(Excerpt(std::string(10000, 'x')).size(), 48u);
}

TEST(SysfsValues, SecureMemoryOfVirtccaIsReadByNode) {
  auto nodes = ParseTmmMemoryInfo(
      "available: 2 numa nodes (0 2)\n"
      "numa node 0 size:                  98304Mi\n"
      "numa node 0 free:                  90000Mi\n"
      "numa node 0 cvm used:              8296Mi\n"
      "numa node 0 meta_data used:        8Mi\n"
      "numa node 2 size:                  1024Mi\n"
      "numa node 2 of a later driver:     7Mi\n");
  ASSERT_TRUE(nodes.has_value()) << nodes.error().ToString();
  ASSERT_EQ(nodes->size(), 2u);
  EXPECT_EQ((*nodes)[0].total_bytes, uint64_t{98304} << 20);
  EXPECT_EQ((*nodes)[0].metadata_bytes, uint64_t{8} << 20);
  EXPECT_EQ((*nodes)[1].id, 2u);
  for (const char* bad :
       {"numa node 0 free: 1Mi\n", "numa node 0 size: 1Gi\n", "numa node x size: 1Mi\n", "nonsense\n",
        "numa node 0 size: 1Mi\nnuma node 0 free: 2Mi\n", "numa node 0 size: 99999999999999999999Mi\n"}) {
    EXPECT_FALSE(ParseTmmMemoryInfo(bad).has_value()) << bad;
  }
  EXPECT_TRUE(ParseTmmMemoryInfo("available: 0 numa nodes ()\n")->empty());
}

}  // namespace
}  // namespace berth::agent
