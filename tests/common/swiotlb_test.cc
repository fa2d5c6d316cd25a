#include "common/swiotlb.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;

uint64_t Confidential(uint64_t ram, uint32_t vcpus) {
  return SwiotlbBytes({.guest_ram_bytes = ram, .max_vcpus = vcpus, .x86_confidential = true});
}

TEST(Swiotlb, ConfidentialX86GuestTakesSixPercentRoundedUpToAPowerOfTwo) {
  EXPECT_EQ(Confidential(1 * kGib, 4), 64 * kMib);
  EXPECT_EQ(Confidential(2 * kGib, 4), 128 * kMib);  // 122.9
  EXPECT_EQ(Confidential(4 * kGib, 4), 256 * kMib);  // 245.8
  EXPECT_EQ(Confidential(8 * kGib, 4), 512 * kMib);
  EXPECT_EQ(Confidential(10 * kGib, 4), kGib);  // 614.4
  EXPECT_EQ(Confidential(16 * kGib, 64), kGib);
  EXPECT_EQ(Confidential(1024 * kGib, 64), kGib);
}

TEST(Swiotlb, OneAreaPerCpuNeedsASegmentEach) {
  EXPECT_EQ(Confidential(1 * kGib, 512), 128 * kMib);
  EXPECT_EQ(SwiotlbBytes({.guest_ram_bytes = kGib, .max_vcpus = 300}), 128 * kMib);
}

TEST(Swiotlb, OrdinaryAndArmGuestsKeepTheDefault) {
  EXPECT_EQ(SwiotlbBytes({.guest_ram_bytes = 64 * kGib, .max_vcpus = 8}), 64 * kMib);
}

TEST(Swiotlb, SlabsOfTheCommandLineReplaceTheShareUnlessTheyEqualTheDefault) {
  auto with = [](uint64_t slabs) {
    return SwiotlbBytes(
        {.guest_ram_bytes = 16 * kGib, .max_vcpus = 4, .x86_confidential = true, .slabs = slabs});
  };
  EXPECT_EQ(with(262144), 512 * kMib);
  EXPECT_EQ(with(32768), kGib);        // the kernel takes it for "not given"
  EXPECT_EQ(with(32896), 128 * kMib);  // one segment more pins it
  EXPECT_EQ(with(98304), 256 * kMib);
  EXPECT_EQ(with(1), kMib);  // four areas of a segment (256 KiB) each
}

TEST(Swiotlb, HugeNumbersSaturate) {
  EXPECT_EQ(SwiotlbBytes({.guest_ram_bytes = UINT64_MAX, .max_vcpus = 1, .x86_confidential = true}), kGib);
  EXPECT_EQ(SwiotlbBytes({.max_vcpus = 1, .slabs = UINT64_MAX}), uint64_t{1} << 62);
  EXPECT_EQ(SwiotlbBytes({.max_vcpus = 1, .areas = UINT64_MAX}), uint64_t{1} << 62);
}

}  // namespace
}  // namespace berth
