#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace berth::vmm {
namespace {

// RAM at [0x1000, 0x2000) and [0x2000, 0x3000) (adjacent), and at [0x10000, 0x11000).
class GuestMemoryTest : public testing::Test {
 protected:
  MemoryRegion Region(uint64_t base, std::vector<uint8_t>& backing) {
    MemoryRegion region;
    region.base = Gpa{base};
    region.size = backing.size();
    region.host = backing.data();
    return region;
  }

  std::vector<uint8_t> a_ = std::vector<uint8_t>(0x1000), b_ = a_, c_ = a_;
  GuestMemory memory_{{Region(0x10000, c_), Region(0x2000, b_), Region(0x1000, a_)}};
};

TEST_F(GuestMemoryTest, WritesAcrossAdjacentRegions) {
  std::array<uint8_t, 4> bytes = {1, 2, 3, 4};

  ASSERT_TRUE(memory_.Write(Gpa{0x1ffe}, bytes).ok());

  EXPECT_EQ(a_[0xffe], 1);
  EXPECT_EQ(a_[0xfff], 2);
  EXPECT_EQ(b_[0], 3);
  EXPECT_EQ(b_[1], 4);
  EXPECT_EQ(memory_.ReadObject<uint32_t>(Gpa{0x1ffe}).value(), 0x04030201u);
}

TEST_F(GuestMemoryTest, ChangesNothingWhenAnyByteIsOutsideRam) {
  std::array<uint8_t, 4> bytes = {9, 9, 9, 9};

  Status status = memory_.Write(Gpa{0x2ffe}, bytes);

  EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(status.message(), "guest-physical range 0x2ffe+0x4 is not RAM");
  EXPECT_EQ(b_[0xffe], 0);
}

TEST_F(GuestMemoryTest, RefusesSpansAcrossRegionsAndOutside) {
  EXPECT_EQ(memory_.Span(Gpa{0x1000}, 0x1000).value().data(), a_.data());
  EXPECT_FALSE(memory_.Span(Gpa{0x1000}, 0x1001).has_value());
  EXPECT_FALSE(memory_.Span(Gpa{0xfff}, 1).has_value());
  EXPECT_FALSE(memory_.Span(Gpa{0x11000}, 0).has_value());
}

TEST_F(GuestMemoryTest, RefusesRangesThatWrapAround) {
  std::array<uint8_t, 16> bytes{};
  EXPECT_FALSE(memory_.Read(Gpa{UINT64_MAX - 3}, bytes).ok());
  EXPECT_FALSE(memory_.Span(Gpa{0x10000}, UINT64_MAX).has_value());
  EXPECT_FALSE(memory_.Span(Gpa{UINT64_MAX}, 2).has_value());
}

TEST_F(GuestMemoryTest, AllowsEmptyAccessesInRamOnly) {
  EXPECT_TRUE(memory_.Read(Gpa{0x1000}, {}).ok());
  EXPECT_FALSE(memory_.Read(Gpa{0x5000}, {}).ok());
}

}  // namespace
}  // namespace berth::vmm
