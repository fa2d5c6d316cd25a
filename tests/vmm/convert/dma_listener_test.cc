#include "vmm/convert/dma_listener.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/vmm/convert/fake_guest.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = 1 << 20;
using Interface = FakeIommu::Interface;

FakeGuest::Options Guest(Interface interface, DmaStrategy strategy) {
  FakeGuest::Options options;
  options.regions = {{.base = 0, .size = 16 * kMiB}};
  options.iommu.interface = interface;
  options.strategy = strategy;
  return options;
}

TEST(DmaListener, MapsByTheRunsOfTheGuestWhereThePartsComeBackAlike) {
  FakeGuest guest(Guest(Interface::kType1, DmaStrategy::kExact));

  ASSERT_TRUE(guest.converter.Convert(0, 8 * kMiB, Direction::kToShared).has_value());
  EXPECT_EQ(guest.iommu.mappings().size(), 1u);
  const auto part = guest.converter.Convert(kMiB, kPage, Direction::kToPrivate);

  EXPECT_EQ(part.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(guest.listener.counters().refused, 1u);
  EXPECT_TRUE(guest.converter.Convert(0, 8 * kMiB, Direction::kToPrivate).has_value());
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaListener, CutsWhereTheKernelCan) {
  FakeGuest guest(Guest(Interface::kIommufdCut, DmaStrategy::kCut));
  ASSERT_TRUE(guest.converter.Convert(0, 8 * kMiB, Direction::kToShared).has_value());
  const uint64_t before = guest.iommu.calls();

  ASSERT_TRUE(guest.converter.Convert(kMiB, kPage, Direction::kToPrivate).has_value());

  EXPECT_EQ(guest.iommu.calls() - before, 1u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaListener, RemapsTheRestOfAChunkWhereFaultsAreAllowed) {
  FakeGuest::Options options = Guest(Interface::kType1, DmaStrategy::kChunks);
  options.allow_transient_faults = true;
  FakeGuest guest(options);
  ASSERT_TRUE(guest.converter.Convert(0, 8 * kMiB, Direction::kToShared).has_value());
  EXPECT_EQ(guest.iommu.mappings().size(), 4u);
  const uint64_t before = guest.iommu.calls();

  ASSERT_TRUE(guest.converter.Convert(kMiB, kPage, Direction::kToPrivate).has_value());

  EXPECT_EQ(guest.iommu.calls() - before, 3u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaListener, RemapsNothingWhileDevicesWorkAndMayNotFault) {
  FakeGuest guest(Guest(Interface::kType1, DmaStrategy::kChunks));
  ASSERT_TRUE(guest.converter.Convert(0, 8 * kMiB, Direction::kToShared).has_value());

  EXPECT_EQ(guest.converter.Convert(kMiB, kPage, Direction::kToPrivate).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(guest.converter.Convert(2 * kMiB, 2 * kMiB, Direction::kToPrivate).has_value());  // a whole one
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaListener, RefusesMoreMappingsThanTheKernelKeeps) {
  FakeGuest::Options options = Guest(Interface::kType1, DmaStrategy::kPages);
  options.iommu.entry_limit = 100;
  FakeGuest guest(options);
  ASSERT_TRUE(guest.converter.Convert(0, 60 * kPage, Direction::kToShared).has_value());

  const auto more = guest.converter.Convert(kMiB, 60 * kPage, Direction::kToShared);

  EXPECT_EQ(more.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(guest.iommu.mappings().size(), 60u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaListener, JoinsMappingsWhileNoDeviceWorks) {
  for (const auto& [interface, strategy, left] :
       {std::tuple{Interface::kIommufdCut, DmaStrategy::kCut, size_t{1}},
        std::tuple{Interface::kType1, DmaStrategy::kChunks, size_t{2}}}) {
    FakeGuest::Options options = Guest(interface, strategy);
    options.quiesced = true;
    FakeGuest guest(options);
    for (uint64_t gpa = 0; gpa < 4 * kMiB; gpa += 16 * kPage) {
      ASSERT_TRUE(guest.converter.Convert(gpa, 16 * kPage, Direction::kToShared).has_value());
    }
    ASSERT_EQ(guest.iommu.mappings().size(), 64u);

    EXPECT_EQ(*guest.listener.Compact(), 64u - left);

    EXPECT_EQ(guest.iommu.mappings().size(), left);
    guest.ExpectConsistent(0, 16 * kMiB);
    ASSERT_TRUE(guest.converter.Convert(kMiB, kPage, Direction::kToPrivate).has_value());
    guest.ExpectConsistent(0, 16 * kMiB);
  }
}

TEST(DmaListener, JoinsNothingWhileDevicesWork) {
  FakeGuest guest(Guest(Interface::kIommufdCut, DmaStrategy::kCut));
  ASSERT_TRUE(guest.converter.Convert(0, kPage, Direction::kToShared).has_value());
  ASSERT_TRUE(guest.converter.Convert(kPage, kPage, Direction::kToShared).has_value());

  EXPECT_EQ(*guest.listener.Compact(), 0u);
  EXPECT_EQ(guest.iommu.mappings().size(), 2u);
}

TEST(DmaListener, KeepsAllMappingsWhenJoiningFails) {
  FakeGuest::Options options = Guest(Interface::kIommufdCut, DmaStrategy::kCut);
  options.quiesced = true;
  FakeGuest guest(options);
  for (uint64_t gpa = 0; gpa < 8 * kPage; gpa += kPage) {
    ASSERT_TRUE(guest.converter.Convert(gpa, kPage, Direction::kToShared).has_value());
  }
  guest.iommu.FailCall(8, ENOMEM);  // after the pieces are unmapped

  EXPECT_EQ(guest.listener.Compact().status().code(), StatusCode::kResourceExhausted);

  EXPECT_EQ(guest.iommu.mappings().size(), 8u);
  guest.ExpectConsistent(0, 16 * kMiB);
}

TEST(DmaStrategy, IsChosenByWhatTheKernelCanDo) {
  const DmaPolicy gib = {.allow_transient_faults = false, .expected_shared_bytes = 1024 * kMiB};
  const DmaLimits cut = {.ranges = {}, .can_cut = true};
  const DmaLimits type1 = {.ranges = {}, .entries_left = 65535};
  const DmaLimits raised = {.ranges = {}, .entries_left = 4194304};

  EXPECT_EQ(ChooseDmaStrategy(cut, gib).strategy, DmaStrategy::kCut);
  EXPECT_EQ(ChooseDmaStrategy(raised, gib).strategy, DmaStrategy::kPages);
  EXPECT_EQ(ChooseDmaStrategy(raised, gib).expected_mappings, 262144u);
  const DmaChoice few = ChooseDmaStrategy(type1, gib);
  EXPECT_EQ(few.strategy, DmaStrategy::kExact);
  EXPECT_NE(few.warning.find("dma_entry_limit to at least 262144"), std::string::npos) << few.warning;
  EXPECT_EQ(ChooseDmaStrategy(type1, {.allow_transient_faults = true, .expected_shared_bytes = 1024 * kMiB})
                .strategy,
            DmaStrategy::kChunks);
}

TEST(DmaStrategy, ChecksTheNumberOfMappingsBeforehand) {
  const DmaLimits limits = {.ranges = {}, .entries_left = 65535};

  EXPECT_TRUE(CheckDmaEntries(limits, DmaStrategy::kPages, 255 * kMiB).ok());
  const Status status = CheckDmaEntries(limits, DmaStrategy::kPages, 16384 * kMiB);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.hint(), "raise vfio_iommu_type1.dma_entry_limit to at least 4194304");
}

}  // namespace
}  // namespace berth::vmm
