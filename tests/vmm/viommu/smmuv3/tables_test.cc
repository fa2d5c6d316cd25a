#include "vmm/viommu/smmuv3/tables.h"

#include <gtest/gtest.h>

#include "tests/vmm/viommu/smmuv3/smmu_guest.h"

namespace berth::vmm::smmuv3 {
namespace {

constexpr uint64_t kPage = SmmuGuest::kPage;
constexpr uint64_t kUserPage = SmmuGuest::kUserPage;
constexpr uint64_t kPage2 = SmmuGuest::kPage2;

class SmmuTablesTest : public testing::Test {
 protected:
  void SetUp() override {
    streams_ = guest_.NewPage();
    context_ = guest_.NewPage();
    table_ = guest_.NewPage();
    guest_.NewPage();  // of stage 2: two tables side by side, aligned
    stage2_ = guest_.NewPage();
    guest_.NewPage();
  }
  Found<Stream> Find(uint32_t stream, const std::vector<uint64_t>& entry) {
    guest_.Put(streams_ + 64 * stream, entry);
    return FindStream(ram_.memory(), {streams_, 6, false, 6}, stream);
  }
  Event EventOf(const std::vector<uint64_t>& entry) { return Find(3, entry).event; }
  Found<Place> Access(uint64_t address, bool write = false, uint64_t config = 5) {
    const Found<Stream> stream = Find(3, SmmuGuest::Stream(config, context_, config >= 6 ? stage2_ : 0));
    EXPECT_EQ(stream.event, Event::kNone);
    return Translate(ram_.memory(), stream.value, address, write);
  }

  GuestRam ram_{{{0, 0x100000}}};
  SmmuGuest guest_{ram_, 0x2000, 0x80000};
  uint64_t streams_ = 0, context_ = 0, table_ = 0, stage2_ = 0;
};

TEST_F(SmmuTablesTest, ReadsEntriesOfTheStreamTable) {
  EXPECT_EQ(Find(3, SmmuGuest::Stream(0)).value.kind, Stream::Kind::kAbort);
  EXPECT_EQ(Find(3, SmmuGuest::Stream(4)).value.kind, Stream::Kind::kBypass);
  const Stream first = Find(3, SmmuGuest::Stream(5, context_)).value;
  EXPECT_TRUE(first.first_stage && !first.second_stage);
  EXPECT_EQ(first.contexts, context_);
  const Stream both = Find(3, SmmuGuest::Stream(7, context_, stage2_)).value;
  EXPECT_TRUE(both.first_stage && both.second_stage);
  EXPECT_EQ(both.stage2.table, stage2_);
  EXPECT_EQ(both.stage2.input_bits, 40u);
  EXPECT_EQ(both.stage2.start_level, 1u);
}

TEST_F(SmmuTablesTest, SaysWhatIsWrongWithAStream) {
  EXPECT_EQ(EventOf({0}), Event::kBadStreamEntry);
  EXPECT_EQ(EventOf(SmmuGuest::Stream(1)), Event::kBadStreamEntry);
  EXPECT_EQ(EventOf(SmmuGuest::Stream(5, uint64_t{1} << 59)), Event::kBadStreamEntry) << "substreams";
  std::vector<uint64_t> entry = SmmuGuest::Stream(6, 0, stage2_);
  entry[2] |= uint64_t{1} << 46;
  EXPECT_EQ(EventOf(entry), Event::kBadStreamEntry) << "64 KiB";
  entry = SmmuGuest::Stream(6, 0, stage2_);
  entry[2] &= ~(uint64_t{1} << 38);
  EXPECT_EQ(EventOf(entry), Event::kBadStreamEntry) << "40 bits cannot begin at level 2";
  EXPECT_EQ(FindStream(ram_.memory(), {streams_, 2, false, 6}, 4).event, Event::kBadStream);
  EXPECT_EQ(FindStream(ram_.memory(), {0x100000, 6, false, 6}, 3).event, Event::kStreamFetch);
}

TEST_F(SmmuTablesTest, FollowsStreamTablesOfTwoLevels) {
  const uint64_t second = guest_.NewPage();
  guest_.Put(streams_ + 8 * 2, {second | 3});  // four entries
  guest_.Put(second + 64 * 3, SmmuGuest::Stream(4));
  const StreamTable table{streams_, 10, true, 6};
  EXPECT_EQ(FindStream(ram_.memory(), table, 2 << 6 | 3).value.kind, Stream::Kind::kBypass);
  EXPECT_EQ(FindStream(ram_.memory(), table, 2 << 6 | 4).event, Event::kBadStream) << "beyond the span";
  EXPECT_EQ(FindStream(ram_.memory(), table, 1 << 6 | 3).event, Event::kBadStream) << "no second level";
  guest_.Put(streams_ + 8 * 2, {uint64_t{0x100000} | 7});
  EXPECT_EQ(FindStream(ram_.memory(), table, 2 << 6 | 3).event, Event::kStreamFetch);
}

TEST_F(SmmuTablesTest, TranslatesByTheFirstStage) {
  guest_.Put(context_, SmmuGuest::Context(table_));
  guest_.SetEntry(table_, 0, 0x12345000, 0x90000 | kUserPage);
  guest_.SetEntry(table_, 0, 0x12346000, 0x91000 | kUserPage | SmmuGuest::kReadOnly);
  guest_.SetEntry(table_, 0, 0x40000000, 0x80000000 | (kUserPage & ~uint64_t{2}), 1);  // a block of 1 GiB
  EXPECT_EQ(Access(0x12345678, true).value, (Place{.gpa = 0x90678, .length = 0x988}));
  EXPECT_EQ(Access(0x12346000).value.gpa, 0x91000u);
  EXPECT_EQ(Access(0x40000010).value, (Place{.gpa = 0x80000010, .length = 0x3ffffff0}));
  EXPECT_EQ(Access(0x12346000, true).event, Event::kPermission);
  EXPECT_EQ(Access(0x12347000).event, Event::kTranslation);
  EXPECT_EQ(Access(uint64_t{1} << 48).event, Event::kTranslation) << "above all";
  EXPECT_EQ(Access(~uint64_t{0xfff}).event, Event::kTranslation) << "no upper half";
  EXPECT_FALSE(Access(0x12347000).value.quiet);
}

TEST_F(SmmuTablesTest, HasAnUpperHalf) {
  const uint64_t upper = guest_.NewPage();
  std::vector<uint64_t> context = SmmuGuest::Context(table_, 39);
  context[0] &= ~uint64_t{1 << 30};
  context[0] |= uint64_t{25} << 16 | 2 << 22;
  context.push_back(upper);
  guest_.Put(context_, context);
  const uint64_t address = UINT64_MAX << 39 | 0x5000;
  guest_.SetEntry(upper, 1, 0x5000, 0x90000 | kUserPage);
  EXPECT_EQ(Access(address).value.gpa, 0x90000u);
  EXPECT_EQ(Access(0x5000).event, Event::kTranslation);
  EXPECT_EQ(Access(address ^ uint64_t{1} << 45).event, Event::kTranslation) << "between the halves";
}

TEST_F(SmmuTablesTest, SaysWhyTheFirstStageDoesNotTranslate) {
  EXPECT_EQ(Access(0).event, Event::kBadContext);
  guest_.Put(context_, SmmuGuest::Context(table_, 48, uint64_t{1} << 44));
  EXPECT_EQ(Access(0).event, Event::kBadContext) << "stalls";
  guest_.Put(context_, SmmuGuest::Context(table_, 48, 1 << 6));
  EXPECT_EQ(Access(0).event, Event::kBadContext) << "64 KiB";
  guest_.Put(context_, SmmuGuest::Context(table_));
  guest_.SetEntry(table_, 0, 0x1000, 0x90000 | (kUserPage & ~SmmuGuest::kAccessed));
  EXPECT_EQ(Access(0x1000).event, Event::kAccessFlag);
  guest_.Put(context_, SmmuGuest::Context(table_, 48, uint64_t{1} << 35));
  EXPECT_EQ(Access(0x1000).value.gpa, 0x90000u) << "the flag does not count";
  guest_.SetEntry(table_, 0, 0x1000, 0x90000 | (kUserPage & ~SmmuGuest::kUser));
  EXPECT_EQ(Access(0x1000).event, Event::kPermission) << "privileged only";
  std::vector<uint64_t> context = SmmuGuest::Context(table_);
  context[0] &= ~(uint64_t{7} << 32 | uint64_t{1} << 45);  // 32 bits of output, faults are not told
  guest_.Put(context_, context);
  guest_.SetEntry(table_, 0, 0x2000, uint64_t{1} << 32 | kUserPage);
  EXPECT_EQ(Access(0x2000).event, Event::kAddressSize);
  EXPECT_TRUE(Access(0x2000).value.quiet);
  ram_.PutObject(table_, uint64_t{0x100000} | 3);
  EXPECT_EQ(Access(0x1000).event, Event::kWalkAbort) << "a table outside of RAM";
  EXPECT_EQ(
      Translate(ram_.memory(), {Stream::Kind::kTranslate, true, false, 0x100000, {}, true}, 0, false).event,
      Event::kContextFetch);
}

TEST_F(SmmuTablesTest, RightsOfTablesCountBelowThem) {
  guest_.Put(context_, SmmuGuest::Context(table_));
  guest_.SetEntry(table_, 0, 0x1000, 0x90000 | kUserPage);
  const auto upper = ram_.GetObject<uint64_t>(table_);
  ram_.PutObject(table_, upper | uint64_t{1} << 62);
  EXPECT_EQ(Access(0x1000).event, Event::kNone);
  EXPECT_EQ(Access(0x1000, true).event, Event::kPermission);
  ram_.PutObject(table_, upper | uint64_t{1} << 61);
  EXPECT_EQ(Access(0x1000).event, Event::kPermission);
}

TEST_F(SmmuTablesTest, TranslatesByTheSecondStage) {
  guest_.SetEntry(stage2_, 1, 0x5000, 0x90000 | kPage2);
  guest_.SetEntry(stage2_, 1, 0x6000, 0x91000 | (kPage2 & ~SmmuGuest::kWrite2));
  // The second of the tables side by side.
  guest_.SetEntry(stage2_ + kPage, 1, 0x7000, 0x92000 | kPage2);
  EXPECT_EQ(Access(0x5010, true, 6).value.gpa, 0x90010u);
  EXPECT_EQ(Access((uint64_t{1} << 39) + 0x7000, true, 6).value.gpa, 0x92000u);
  EXPECT_EQ(Access(0x6000, false, 6).value.gpa, 0x91000u);
  const Found<Place> refused = Access(0x6010, true, 6);
  EXPECT_EQ(refused.event, Event::kPermission);
  EXPECT_TRUE(refused.value.stage2);
  EXPECT_EQ(refused.value.ipa, 0x6010u);
  EXPECT_EQ(Access(uint64_t{1} << 40, false, 6).event, Event::kTranslation);
}

TEST_F(SmmuTablesTest, NestsTheStages) {
  guest_.Put(context_, SmmuGuest::Context(table_));
  guest_.SetEntry(table_, 0, 0x12345000, 0x200000 | kUserPage);
  EXPECT_EQ(Access(0, false, 7).value.met, Place::Class::kContext) << "not even the descriptor is there";
  // What the first stage reads, as it is; what it leads to, elsewhere.
  for (uint64_t page = 0; page < 0x80000; page += kPage) guest_.SetEntry(stage2_, 1, page, page | kPage2);
  guest_.SetEntry(stage2_, 1, 0x200000, 0x90000 | kPage2);
  EXPECT_EQ(Access(0x12345678, true, 7).value, (Place{.gpa = 0x90678, .length = 0x988}));
  guest_.SetEntry(stage2_, 1, 0x200000, 0);
  const Found<Place> gone = Access(0x12345678, true, 7);
  EXPECT_EQ(gone.event, Event::kTranslation);
  EXPECT_EQ(gone.value.ipa, 0x200678u);
  EXPECT_EQ(gone.value.met, Place::Class::kInput);
  guest_.SetEntry(stage2_, 1, table_, 0);
  const Found<Place> table = Access(0x12345678, true, 7);
  EXPECT_EQ(table.event, Event::kTranslation);
  EXPECT_TRUE(table.value.stage2);
  EXPECT_EQ(table.value.met, Place::Class::kTable);
}

}  // namespace
}  // namespace berth::vmm::smmuv3
