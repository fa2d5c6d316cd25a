#include "vmm/viommu/vtd/interrupt_remapper.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "tests/fakes/guest_ram.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kTable = 0x4000;
constexpr uint64_t kExtended = 1 << 11;
constexpr uint16_t kSource = 0x0018;

// A message with the handle of a table entry.
MsiMessage Handle(uint32_t index) {
  return {0xfee00010u | (index & 0x7fff) << 5 | (index >> 15) << 2, 0};
}

class InterruptRemapperTest : public testing::Test {
 protected:
  void SetUp() override {
    remapper_.SetTable(kTable | kExtended | 7);  // 256 entries
    remapper_.SetEnabled(true);
  }
  void SetEntry(uint32_t index, uint64_t low, uint64_t high = 0) {
    ram_.PutObject(kTable + 16 * index, low);
    ram_.PutObject(kTable + 16 * index + 8, high);
  }
  std::optional<MsiMessage> Remap(const MsiMessage& message, uint16_t source = kSource, bool report = true) {
    return remapper_.Remap(source, message, report);
  }

  GuestRam ram_{{{0, 0x10000}}};
  std::vector<std::tuple<uint16_t, uint16_t, Reason>> faults_;
  InterruptRemapper remapper_{ram_.memory(), true, [this](uint16_t source, uint16_t index, Reason reason) {
                                faults_.emplace_back(source, index, reason);
                              }};
};

TEST_F(InterruptRemapperTest, LooksUpWhatAHandleMeans) {
  SetEntry(3, uint64_t{0x12345} << 32 | 0x41 << 16 | 1);
  EXPECT_EQ(Remap(Handle(3)), (MsiMessage{uint64_t{0x12300} << 32 | 0xfee45000, 0x41}));
  // Logical, with a hint, lowest priority, level.
  SetEntry(255, uint64_t{9} << 32 | 0x52 << 16 | 1 << 5 | 1 << 4 | 1 << 3 | 1 << 2 | 1);
  EXPECT_EQ(Remap(Handle(255)), (MsiMessage{0xfee0900c, 0xc152}));
  // With a subhandle.
  MsiMessage sub = Handle(1);
  sub.address |= 1 << 3;
  sub.data = 2;
  EXPECT_EQ(Remap(sub)->data, 0x41u);
  EXPECT_EQ(InterruptRemapper::IndexOf(sub), 3u);
  EXPECT_EQ(InterruptRemapper::IndexOf(Handle(0x8001)), 0x8001u);
  EXPECT_EQ(InterruptRemapper::IndexOf({0xfee01000, 0x41}), std::nullopt);
  EXPECT_TRUE(faults_.empty());
}

TEST_F(InterruptRemapperTest, TakesEightBitsOfADestinationWithoutExtendedMode) {
  remapper_.SetTable(kTable | 7);
  SetEntry(3, uint64_t{0x1234} << 32 | 0x41 << 16 | 1);
  EXPECT_EQ(Remap(Handle(3))->address, 0xfee12000u);
  InterruptRemapper narrow(ram_.memory(), false, [](uint16_t, uint16_t, Reason) {});
  narrow.SetTable(kTable | kExtended | 7);
  narrow.SetEnabled(true);
  EXPECT_EQ(narrow.Remap(kSource, Handle(3), true)->address, 0xfee12000u);
}

TEST_F(InterruptRemapperTest, SaysWhyAnInterruptDoesNotHappen) {
  EXPECT_EQ(Remap(Handle(3)), std::nullopt);
  EXPECT_EQ(Remap(Handle(256)), std::nullopt);
  SetEntry(4, 1 << 15 | 1);  // posted
  EXPECT_EQ(Remap(Handle(4)), std::nullopt);
  SetEntry(4, 1, uint64_t{1} << 20);
  EXPECT_EQ(Remap(Handle(4)), std::nullopt);
  EXPECT_EQ(Remap({0xfee01000, 0x41}), std::nullopt);
  remapper_.SetTable(0x10000 | 7);
  EXPECT_EQ(Remap(Handle(4)), std::nullopt);
  using Fault = std::tuple<uint16_t, uint16_t, Reason>;
  EXPECT_EQ(faults_, (std::vector<Fault>{{kSource, 3, Reason::kIrteNotPresent},
                                         {kSource, 256, Reason::kIndexTooHigh},
                                         {kSource, 4, Reason::kIrteReserved},
                                         {kSource, 4, Reason::kIrteReserved},
                                         {kSource, 0, Reason::kCompatibilityBlocked},
                                         {kSource, 4, Reason::kIrteUnreadable}}));
}

TEST_F(InterruptRemapperTest, TellsNobodyWhenItIsNotAskedTo) {
  EXPECT_EQ(Remap(Handle(3), kSource, false), std::nullopt);
  SetEntry(3, 2);  // FPD
  EXPECT_EQ(Remap(Handle(3)), std::nullopt);
  EXPECT_TRUE(faults_.empty());
}

TEST_F(InterruptRemapperTest, LetsEntriesBeUsedByTheirDevicesOnly) {
  const uint64_t entry = 0x41 << 16 | 1;
  SetEntry(1, entry, uint64_t{1} << 18 | kSource);
  EXPECT_TRUE(Remap(Handle(1), kSource));
  EXPECT_FALSE(Remap(Handle(1), kSource + 4));
  SetEntry(1, entry, uint64_t{1} << 18 | 1 << 16 | kSource);
  EXPECT_TRUE(Remap(Handle(1), kSource + 4));
  EXPECT_FALSE(Remap(Handle(1), kSource + 2));
  SetEntry(1, entry, uint64_t{1} << 18 | 3 << 16 | kSource);
  EXPECT_TRUE(Remap(Handle(1), kSource + 7));
  EXPECT_FALSE(Remap(Handle(1), kSource + 8));
  SetEntry(1, entry, uint64_t{2} << 18 | 0x0204);  // buses 2 to 4
  EXPECT_TRUE(Remap(Handle(1), 0x0300));
  EXPECT_FALSE(Remap(Handle(1), 0x0500));
  SetEntry(1, entry, uint64_t{3} << 18);
  EXPECT_FALSE(Remap(Handle(1), kSource));
  ASSERT_EQ(faults_.size(), 5u);
  EXPECT_EQ(std::get<2>(faults_[0]), Reason::kWrongSource);
  EXPECT_EQ(std::get<2>(faults_[4]), Reason::kIrteReserved);
}

TEST_F(InterruptRemapperTest, LetsOldMessagesPassWhereThatIsAllowed) {
  const MsiMessage old{0xfee01000, 0x41};
  remapper_.SetCompatibility(true);
  EXPECT_EQ(Remap(old), std::nullopt) << "not in extended mode";
  remapper_.SetTable(kTable | 7);
  EXPECT_EQ(Remap(old), old);
  remapper_.SetCompatibility(false);
  EXPECT_EQ(Remap(old), std::nullopt);
  EXPECT_EQ(Remap({0x1000, 5}), (MsiMessage{0x1000, 5})) << "no interrupt at all";
  remapper_.SetEnabled(false);
  EXPECT_EQ(Remap(old), old);
  EXPECT_EQ(Remap(Handle(3)), Handle(3));
}

}  // namespace
}  // namespace berth::vmm::vtd
