#include "vmm/viommu/vtd/tables.h"

#include <gtest/gtest.h>

#include "tests/vmm/viommu/vtd/guest_tables.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kPage = GuestTables::kPage;
constexpr uint64_t kRw = GuestTables::kRead | GuestTables::kWrite;
constexpr uint16_t kSource = 0x0110;  // bus 1, slot 2

class TablesTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = tables_.NewPage();
    contexts_ = tables_.NewPage();
    top_ = tables_.NewPage();
  }
  ContextResult Find(uint64_t low, uint64_t high, uint32_t width = 48) {
    tables_.SetRootEntry(root_, 1, contexts_);
    tables_.SetContext(contexts_, 0x10, low, high);
    return FindContext(ram_.memory(), root_, kSource, {width, 46});
  }
  Context Translating(uint32_t levels = 4) { return {.table = top_, .levels = levels}; }
  std::vector<IommuMapping> Read(uint64_t first, uint64_t last, uint32_t levels = 4) {
    TableReader reader(ram_.memory(), {48, 46});
    reader.budget = 1000;
    std::vector<IommuMapping> mappings;
    EXPECT_TRUE(reader.Read(Translating(levels), first, last, mappings));
    return mappings;
  }
  Reason Access(uint64_t address, bool write, uint32_t levels = 4) {
    return CheckAccess(ram_.memory(), Translating(levels), address, write, {48, 46});
  }

  GuestRam ram_{{{0, 0x100000}}};
  GuestTables tables_{ram_, 0x1000, 0x80000};
  uint64_t root_ = 0, contexts_ = 0, top_ = 0;
};

TEST_F(TablesTest, FindsTheContextOfADevice) {
  const ContextResult found = Find(top_ | 1, 5 << 8 | 2);
  EXPECT_EQ(found.reason, Reason::kNone);
  EXPECT_EQ(found.context, (Context{Context::Kind::kTranslate, 5, top_, 4, false}));
  EXPECT_EQ(Find(top_ | 1 | 1 << 2, 7 << 8 | 1).context.levels, 3u) << "with a device TLB, 39 bits";
  const ContextResult through = Find(1 | 2 << 2 | 2, 9 << 8 | 2);
  EXPECT_EQ(through.reason, Reason::kNone);
  EXPECT_EQ(through.context.kind, Context::Kind::kPassThrough);
  EXPECT_TRUE(through.context.quiet);
}

TEST_F(TablesTest, SaysWhatIsWrongWithAContext) {
  EXPECT_EQ(FindContext(ram_.memory(), root_, kSource, {48, 46}).reason, Reason::kRootNotPresent);
  EXPECT_EQ(FindContext(ram_.memory(), 0x100000, kSource, {48, 46}).reason, Reason::kRootUnreadable);
  EXPECT_EQ(Find(0, 0).reason, Reason::kContextNotPresent);
  EXPECT_EQ(Find(top_ | 1 | 3 << 2, 2).reason, Reason::kContextInvalid);
  EXPECT_EQ(Find(top_ | 1, 3).reason, Reason::kContextInvalid) << "57 bits";
  EXPECT_EQ(Find(top_ | 1, 2, 39).reason, Reason::kContextInvalid) << "48 bits of a unit with 39";
  EXPECT_EQ(Find(top_ | 1 | 1 << 4, 2).reason, Reason::kContextReserved);
  EXPECT_EQ(Find(uint64_t{1} << 50 | 1, 2).reason, Reason::kContextReserved) << "no such address";
  EXPECT_EQ(Find(top_ | 1, uint64_t{1} << 24 | 2).reason, Reason::kContextReserved);
  ram_.PutObject(root_ + 16, uint64_t{0x100000} | 1);
  EXPECT_EQ(FindContext(ram_.memory(), root_, kSource, {48, 46}).reason, Reason::kContextUnreadable);
  ram_.PutObject(root_ + 16, contexts_ | 3);
  EXPECT_EQ(FindContext(ram_.memory(), root_, kSource, {48, 46}).reason, Reason::kRootReserved);
}

TEST_F(TablesTest, JoinsPagesThatFollowEachOther) {
  for (uint64_t i = 0; i < 4; ++i)
    tables_.SetEntry(top_, 4, 0x7fe000 + i * kPage, (0x90000 + i * kPage) | kRw);
  tables_.SetEntry(top_, 4, 0x802000, 0x94000 | GuestTables::kRead);
  tables_.SetEntry(top_, 4, 0x803000, 0x10000 | GuestTables::kWrite);
  EXPECT_EQ(Read(0, UINT64_MAX), (std::vector<IommuMapping>{{0x7fe000, 0x801fff, 0x90000, true, true},
                                                            {0x802000, 0x802fff, 0x94000, true, false},
                                                            {0x803000, 0x803fff, 0x10000, false, true}}));
  EXPECT_EQ(Read(0x7ff800, 0x800000), (std::vector<IommuMapping>{{0x7ff000, 0x800fff, 0x91000, true, true}}))
      << "whole pages";
  EXPECT_TRUE(Read(0x804000, UINT64_MAX).empty());
  EXPECT_EQ(Access(0x7fe123, true), Reason::kNone);
  EXPECT_EQ(Access(0x802000, false), Reason::kNone);
  EXPECT_EQ(Access(0x802000, true), Reason::kWrite);
  EXPECT_EQ(Access(0x803000, false), Reason::kRead);
  EXPECT_EQ(Access(0x804000, false), Reason::kRead);
}

TEST_F(TablesTest, KnowsLargePagesInTablesOfThreeLevels) {
  tables_.SetEntry(top_, 3, 0x40000000, 0x80000000 | kRw | GuestTables::kLarge, 3);
  tables_.SetEntry(top_, 3, 0x80000000, 0x200000 | kRw | GuestTables::kLarge, 2);
  tables_.SetEntry(top_, 3, 0x80200000, 0x401000 | kRw | GuestTables::kLarge, 2);  // not aligned
  EXPECT_EQ(Read(0, UINT64_MAX, 3),
            (std::vector<IommuMapping>{{0x40000000, 0x7fffffff, 0x80000000, true, true},
                                       {0x80000000, 0x801fffff, 0x200000, true, true}}));
  EXPECT_EQ(Access(0x7fffffff, true, 3), Reason::kNone);
  EXPECT_EQ(Access(0x80200000, true, 3), Reason::kEntryReserved);
  EXPECT_EQ(Access(uint64_t{1} << 39, true, 3), Reason::kAddressTooHigh);
}

TEST_F(TablesTest, RightsAreThoseOfAllLevels) {
  tables_.SetEntry(top_, 4, 0x1000, 0x90000 | kRw);
  const auto upper = ram_.GetObject<uint64_t>(top_);
  ram_.PutObject(top_, (upper & ~uint64_t{3}) | GuestTables::kRead);
  EXPECT_EQ(Read(0, UINT64_MAX), (std::vector<IommuMapping>{{0x1000, 0x1fff, 0x90000, true, false}}));
  EXPECT_EQ(Access(0x1000, true), Reason::kWrite);
  ram_.PutObject(top_, (upper & ~uint64_t{3}) | GuestTables::kWrite);
  tables_.SetEntry(top_, 4, 0x1000, 0x90000 | GuestTables::kRead);
  EXPECT_TRUE(Read(0, UINT64_MAX).empty());
}

TEST_F(TablesTest, NeverMapsTheInterruptRange) {
  tables_.SetEntry(top_, 4, 0xfee00000, 0x200000 | kRw | GuestTables::kLarge, 2);
  tables_.SetEntry(top_, 4, 0xfec00000, 0x400000 | kRw | GuestTables::kLarge, 2);
  EXPECT_EQ(Read(0, UINT64_MAX), (std::vector<IommuMapping>{{0xfec00000, 0xfedfffff, 0x400000, true, true},
                                                            {0xfef00000, 0xfeffffff, 0x300000, true, true}}));
}

TEST_F(TablesTest, IsNotLedAstray) {
  tables_.SetEntry(top_, 4, 0, uint64_t{1} << 46 | kRw);        // above the guest's address space
  ram_.PutObject(top_ + 8, uint64_t{0x100000} | kRw);           // a table outside of RAM
  ram_.PutObject(top_ + 16, top_ | kRw | GuestTables::kLarge);  // no pages of that size
  EXPECT_TRUE(Read(0, UINT64_MAX).empty());
  EXPECT_EQ(Access(0, false), Reason::kEntryReserved);
  EXPECT_EQ(Access(uint64_t{1} << 39, false), Reason::kTableUnreadable);
  EXPECT_EQ(Access(uint64_t{2} << 39, false), Reason::kEntryReserved);
  // Each entry leads back to the table itself: 512^3 tables.
  for (uint64_t i = 0; i < 512; ++i) ram_.PutObject(top_ + 8 * i, top_ | kRw);
  TableReader reader(ram_.memory(), {48, 46});
  reader.budget = 1000;
  std::vector<IommuMapping> mappings;
  EXPECT_FALSE(reader.Read(Translating(), 0, UINT64_MAX, mappings));
  EXPECT_EQ(reader.budget, 0u);
}

}  // namespace
}  // namespace berth::vmm::vtd
