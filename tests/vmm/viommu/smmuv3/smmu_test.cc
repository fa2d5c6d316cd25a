#include "vmm/viommu/smmuv3/smmu.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>

#include "tests/vmm/property_rounds.h"
#include "tests/vmm/viommu/smmuv3/smmu_guest.h"
#include "vmm/viommu/smmuv3/ring.h"

namespace berth::vmm::smmuv3 {
namespace {

constexpr uint64_t kPage = SmmuGuest::kPage;
constexpr uint32_t kStream = 8;

class SmmuTest : public testing::Test {
 protected:
  void SetUp() override {
    streams_ = guest_.NewPage();
    commands_ = guest_.NewPage();
    events_ = guest_.NewPage();
    context_ = guest_.NewPage();
    table_ = guest_.NewPage();
    guest_.Put(context_, SmmuGuest::Context(table_));
    guest_.Put(streams_ + 64 * kStream, SmmuGuest::Stream(5, context_));
  }
  uint32_t Read32(uint32_t offset) {
    uint32_t value = 0;
    smmu_.Read(offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  void Write32(uint32_t offset, uint32_t value) {
    smmu_.Write(offset, {reinterpret_cast<const uint8_t*>(&value), 4});
  }
  void Write64(uint32_t offset, uint64_t value) {
    smmu_.Write(offset, {reinterpret_cast<const uint8_t*>(&value), 8});
  }
  void Start() {
    Write64(kStreamTable, streams_);
    Write32(kStreamTableForm, 6);
    Write64(kCommandQueue, commands_ | 3);  // eight commands
    Write64(kEventQueue, events_ | 1);      // two events
    Write64(kEventMsi, 0x8000000);
    Write32(kEventMsi + 8, 77);
    Write64(kErrorMsi, 0x8000000);
    Write32(kErrorMsi + 8, 78);
    Write32(kInterruptControl, kErrorInterrupt | kEventInterrupt);
    Write32(kControl0, kCommandsEnable | kEventsEnable | kEnable);
  }
  void Command(uint64_t low, uint64_t high = 0) {
    const Ring ring(3);
    guest_.Put(commands_ + 16 * ring.Index(producer_), {low, high});
    producer_ = ring.Next(producer_);
    Write32(kCommandProducer, producer_);
  }
  std::optional<uint64_t> Reach(uint64_t address, bool write = false) {
    const auto place = smmu_.Translate(kStream, address, write);
    return place.has_value() ? std::optional(place->gpa) : std::nullopt;
  }
  uint64_t EventWord(uint32_t event, uint32_t word) {
    return ram_.GetObject<uint64_t>(events_ + 32 * event + 8 * word);
  }

  GuestRam ram_{{{0, 0x100000}}};
  SmmuGuest guest_{ram_, 0x2000, 0xc0000};
  std::vector<MsiMessage> delivered_;
  Smmu smmu_{ram_.memory(), [this](const MsiMessage& message) { delivered_.push_back(message); }};
  uint64_t streams_ = 0, commands_ = 0, events_ = 0, context_ = 0, table_ = 0;
  uint32_t producer_ = 0;
};

TEST_F(SmmuTest, TellsWhatItCanDo) {
  const uint32_t features = Read32(kIdr0);
  EXPECT_EQ(features & 3, 3u) << "both stages";
  EXPECT_EQ(features >> 2 & 3, 2u) << "AArch64 tables";
  EXPECT_EQ(features >> 24 & 3, 1u) << "no stalls";
  EXPECT_EQ(features >> 27 & 3, 1u) << "stream tables of two levels";
  EXPECT_EQ(Read32(kIdr1) & 0x3f, 16u);
  EXPECT_EQ(Read32(kIdr5), 0x15u);
  Write32(kIdr0, 0);
  EXPECT_EQ(Read32(kIdr0), features);
  Write32(kControl0, UINT32_MAX);
  EXPECT_EQ(Read32(kControl0Ack), kEnable | kEventsEnable | kCommandsEnable);
}

TEST_F(SmmuTest, PassesOrAbortsWhileItIsOff) {
  EXPECT_EQ(Reach(0x5000), 0x5000u);
  Write32(kGlobalBypass, kGlobalAbort);
  EXPECT_EQ(Reach(0x5000), 0x5000u) << "not without the update bit";
  Write32(kGlobalBypass, kGlobalAbort | kUpdate);
  EXPECT_EQ(Read32(kGlobalBypass), kGlobalAbort);
  EXPECT_EQ(Reach(0x5000), std::nullopt);
}

TEST_F(SmmuTest, TranslatesAndTellsOfFaults) {
  Start();
  guest_.SetEntry(table_, 0, 0x5000, 0x90000 | SmmuGuest::kUserPage);
  EXPECT_EQ(*smmu_.Translate(kStream, 0x5100, true), (Smmu::Translation{0x90100, 0xf00}));
  EXPECT_EQ(Reach(0x6000, true), std::nullopt);
  EXPECT_EQ(Read32(kEventProducer), 1u);
  EXPECT_EQ(EventWord(0, 0), uint64_t{kStream} << 32 | 0x10);
  EXPECT_EQ(EventWord(0, 1), uint64_t{2} << 40) << "a write, the access itself";
  EXPECT_EQ(EventWord(0, 2), 0x6000u);
  EXPECT_EQ(delivered_, (std::vector<MsiMessage>{{0x8000000, 77}}));
  EXPECT_FALSE(smmu_.Translate(99, 0, false).has_value());
  EXPECT_EQ(EventWord(1, 0), uint64_t{99} << 32 | 2) << "no such stream";
  EXPECT_EQ(delivered_.size(), 1u) << "the queue was not empty";
  // It is full; that events are lost is told until the driver has noticed.
  EXPECT_EQ(Reach(0x6000), std::nullopt);
  EXPECT_EQ(Read32(kEventProducer), 1u << 31 | 2);
  EXPECT_EQ(Reach(0x6000), std::nullopt);
  EXPECT_EQ(Read32(kEventProducer), 1u << 31 | 2);
  Write32(kEventConsumer, 1u << 31 | 2);
  EXPECT_EQ(Reach(0x6000), std::nullopt);
  EXPECT_EQ(Read32(kEventProducer), 1u << 31 | 3);
  EXPECT_EQ(EventWord(0, 1), uint64_t{1} << 35 | uint64_t{2} << 40) << "a read";
  EXPECT_EQ(delivered_.size(), 2u);
}

TEST_F(SmmuTest, StreamsCanBypassAndAbort) {
  Start();
  guest_.Put(streams_ + 64 * kStream, SmmuGuest::Stream(4));
  EXPECT_EQ(Reach(0x5000), 0x5000u);
  guest_.Put(streams_ + 64 * kStream, SmmuGuest::Stream(0));
  EXPECT_EQ(Reach(0x5000), std::nullopt);
  EXPECT_EQ(Read32(kEventProducer), 0u) << "of which nobody is told";
}

TEST_F(SmmuTest, CarriesCommandsOutInTheirOrder) {
  Start();
  Command(uint64_t{kStream} << 32 | 0x03, 1);
  Command(0x12, 0x5000);
  EXPECT_EQ(Read32(kCommandConsumer), 2u);
  Command(uint64_t{0x1234} << 32 | 1 << 12 | 0x46, 0x9000004);
  EXPECT_EQ(delivered_, (std::vector<MsiMessage>{{0x9000004, 0x1234}}));
  for (int i = 0; i < 20; ++i) Command(0x46);
  EXPECT_EQ(Read32(kCommandConsumer), 23u % 16) << "around the queue";
}

TEST_F(SmmuTest, StopsAtACommandThatItDoesNotKnow) {
  Start();
  Command(0x30);
  Command(0xee);
  Command(0x30);
  EXPECT_EQ(Read32(kCommandConsumer), 1u | 1u << 24);
  EXPECT_EQ(Read32(kError), kCommandError);
  EXPECT_EQ(delivered_, (std::vector<MsiMessage>{{0x8000000, 78}}));
  // The driver puts another one there, and acknowledges.
  guest_.Put(commands_ + 16, {0x46, 0});
  Write32(kErrorAck, kCommandError);
  EXPECT_EQ(Read32(kCommandConsumer) & 0xffff, 3u);
  // A queue outside of RAM.
  Write32(kControl0, 0);
  Write64(kCommandQueue, 0x100000 | 3);
  Write32(kControl0, kCommandsEnable);
  Command(0x46);
  EXPECT_EQ(Read32(kCommandConsumer) >> 24, 2u);
  EXPECT_EQ(Read32(kError), 0u) << "toggled again";
}

TEST_F(SmmuTest, AnEventQueueOutsideOfRamIsAnError) {
  Start();
  Write64(kEventQueue, 0x100000 | 1);
  EXPECT_EQ(Reach(0x6000), std::nullopt);
  EXPECT_EQ(Read32(kError), kEventLost);
  EXPECT_EQ(Read32(kEventProducer), 0u);
}

TEST(SmmuRing, TellsFullFromEmpty) {
  const Ring ring(1);
  EXPECT_TRUE(ring.Empty(0, 0));
  EXPECT_FALSE(ring.Full(0, 0));
  uint32_t producer = ring.Next(ring.Next(0));
  EXPECT_EQ(producer, 2u);
  EXPECT_TRUE(ring.Full(producer, 0));
  EXPECT_TRUE(ring.Empty(producer, 2));
  EXPECT_EQ(ring.Next(3), 0u);
  EXPECT_EQ(ring.Index(3), 1u);
}

// Against a map of pages.
TEST_F(SmmuTest, ReachesExactlyWhatTheTablesMap) {
  Start();
  std::map<uint64_t, std::pair<uint64_t, bool>> pages;
  std::mt19937 random(3);
  const uint64_t steps = PropertyOps(3000);
  for (uint64_t step = 0; step < steps; ++step) {
    SCOPED_TRACE(step);
    const uint64_t page =
        random() % 64 * (random() % 2 == 0 ? kPage : kPage << 9) + (uint64_t{random() % 2} << 39);
    if (random() % 3 != 0) {
      const uint64_t gpa = random() % 256 * kPage;
      const bool write = random() % 2 == 0;
      guest_.SetEntry(table_, 0, page, gpa | SmmuGuest::kUserPage | (write ? 0 : SmmuGuest::kReadOnly));
      pages[page] = {gpa, write};
    } else {
      guest_.SetEntry(table_, 0, page, 0);
      pages.erase(page);
    }
    const uint64_t address = random() % 64 * (random() % 2 == 0 ? kPage : kPage << 9) + random() % kPage;
    const bool write = random() % 2 == 0;
    const auto mapped = pages.find(address & ~(kPage - 1));
    std::optional<uint64_t> expected;
    if (mapped != pages.end() && (!write || mapped->second.second)) {
      expected = mapped->second.first + address % kPage;
    }
    ASSERT_EQ(Reach(address, write), expected);
    Write32(kEventConsumer, Read32(kEventProducer));
  }
}

}  // namespace
}  // namespace berth::vmm::smmuv3
