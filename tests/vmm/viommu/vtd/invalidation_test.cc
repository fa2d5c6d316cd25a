#include "vmm/viommu/vtd/invalidation.h"

#include <gtest/gtest.h>

namespace berth::vmm::vtd {
namespace {

using Kind = Invalidation::Kind;
using Scope = Invalidation::Scope;

TEST(Invalidation, ReadsContextDescriptors) {
  EXPECT_EQ(ParseDescriptor(0x11, 0), (Invalidation{.kind = Kind::kContext, .scope = Scope::kGlobal}));
  EXPECT_EQ(ParseDescriptor(0x50021, 0),
            (Invalidation{.kind = Kind::kContext, .scope = Scope::kDomain, .domain = 5}));
  EXPECT_EQ(
      ParseDescriptor(uint64_t{3} << 48 | uint64_t{0x118} << 32 | 0x50031, 0),
      (Invalidation{
          .kind = Kind::kContext, .scope = Scope::kPart, .domain = 5, .source = 0x118, .source_mask = 7}));
}

TEST(Invalidation, ReadsDescriptorsOfMappings) {
  EXPECT_EQ(ParseDescriptor(0x12, 0), (Invalidation{.kind = Kind::kMappings, .scope = Scope::kGlobal}));
  EXPECT_EQ(ParseDescriptor(0xffff00e2, 0),
            (Invalidation{.kind = Kind::kMappings, .scope = Scope::kDomain, .domain = 0xffff}));
  // Four pages that begin in their midst, and one with the hint that only leaves have changed.
  EXPECT_EQ(ParseDescriptor(0x70032, 0x12345002), (Invalidation{.kind = Kind::kMappings,
                                                                .scope = Scope::kPart,
                                                                .domain = 7,
                                                                .first = 0x12344000,
                                                                .last = 0x12347fff}));
  EXPECT_EQ(ParseDescriptor(0x70032, 0x12345040)->last, 0x12345fffu);
  EXPECT_EQ(ParseDescriptor(0x70032, 18)->last, 0x3fffffffu);
  EXPECT_EQ(ParseDescriptor(0x70032, 19), std::nullopt) << "more than the unit can";
}

TEST(Invalidation, ReadsTheOtherDescriptors) {
  EXPECT_EQ(ParseDescriptor(uint64_t{0x118} << 32 | 3, 0x1000)->kind, Kind::kDeviceTlb);
  EXPECT_EQ(ParseDescriptor(4, 0), (Invalidation{.kind = Kind::kInterrupts, .scope = Scope::kGlobal}));
  EXPECT_EQ(ParseDescriptor(uint64_t{0x105} << 32 | 2 << 27 | 0x14, 0),
            (Invalidation{.kind = Kind::kInterrupts, .scope = Scope::kPart, .first = 0x104, .last = 0x107}));
  EXPECT_EQ(ParseDescriptor(uint64_t{0xabcd} << 32 | 0x75, 0x12347),
            (Invalidation{.kind = Kind::kWait,
                          .interrupt = true,
                          .write_status = true,
                          .status = 0xabcd,
                          .status_address = 0x12344}));
  EXPECT_EQ(ParseDescriptor(0x15, 0x1000), (Invalidation{.kind = Kind::kWait, .interrupt = true}));
}

TEST(Invalidation, KnowsNoOtherDescriptors) {
  for (uint64_t low : {0x00, 0x06, 0x0f, 0x01, 0x02, 0x211})
    EXPECT_EQ(ParseDescriptor(low, 0), std::nullopt) << low;
}

TEST(Invalidation, ReadsTheRegisters) {
  EXPECT_EQ(ParseContextCommand(uint64_t{0xa} << 60), (Invalidation{.kind = Kind::kContext}));
  EXPECT_EQ(
      ParseContextCommand(uint64_t{0xe} << 60 | uint64_t{1} << 32 | 0x1180005),
      (Invalidation{
          .kind = Kind::kContext, .scope = Scope::kPart, .domain = 5, .source = 0x118, .source_mask = 4}));
  EXPECT_EQ(ParseContextCommand(uint64_t{1} << 63), std::nullopt);
  EXPECT_EQ(ParseInvalidateCommand(uint64_t{0x9} << 60, 0), (Invalidation{.kind = Kind::kMappings}));
  EXPECT_EQ(
      ParseInvalidateCommand(uint64_t{0xb} << 60 | uint64_t{9} << 32, 0x3001),
      (Invalidation{
          .kind = Kind::kMappings, .scope = Scope::kPart, .domain = 9, .first = 0x2000, .last = 0x3fff}));
  EXPECT_EQ(ParseInvalidateCommand(uint64_t{0xb} << 60, 63), std::nullopt);
}

}  // namespace
}  // namespace berth::vmm::vtd
