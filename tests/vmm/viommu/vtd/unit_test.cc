#include "vmm/viommu/vtd/unit.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>

#include "tests/fakes/fake_interrupts.h"
#include "tests/vmm/property_rounds.h"
#include "tests/vmm/viommu/vtd/vtd_driver.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kPage = GuestTables::kPage;
constexpr uint64_t kRead = GuestTables::kRead;
constexpr uint64_t kRw = GuestTables::kRead | GuestTables::kWrite;
constexpr uint64_t kRam = 8 << 20;
constexpr uint64_t kFree = 4 << 20;  // RAM from here on is no table's
constexpr uint32_t kSegment = 2;

// A unit of segment 2 with devices of a fake host IOMMU each behind it.
class UnitTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = tables_.NewPage();
    contexts_ = tables_.NewPage();
    top_ = tables_.NewPage();
    tables_.SetRootEntry(root_, 0, contexts_);
  }
  void AddDevice(uint16_t source) {
    auto& host = hosts_.emplace(source, FakeIommu()).first->second;
    engines_[source] = std::make_unique<DmaEngine>(host.MakeBackend());
    const uint32_t id = kSegment << 16 | source;
    ASSERT_TRUE(
        domains_.AddEndpoint(id, std::make_shared<VfioEndpoint>(*engines_[source], ram_.memory())).ok());
    unit_.AddDevice(source);
  }
  // The guest-physical address that a device reaches.
  std::optional<uint64_t> Reach(uint16_t source, uint64_t address, bool write = true) {
    const uint8_t* host = hosts_.at(source).Translate(address, write);
    if (host == nullptr) return std::nullopt;
    return static_cast<uint64_t>(host - ram_.memory().Span(Gpa{0}, 1)->data());
  }
  void SetContext(uint8_t devfn, uint64_t top, uint16_t domain, uint64_t bits = 1, uint64_t width = 2) {
    tables_.SetContext(contexts_, devfn, top | bits, uint64_t{domain} << 8 | width);
  }
  void TurnOn() {
    driver_.EnableQueue();
    driver_.SetRoot(root_);
    driver_.Command(kTranslation);
  }

  GuestRam ram_{{{0, kRam}}};
  GuestTables tables_{ram_, 0x1000, kFree};
  IommuDomains domains_;
  std::map<uint16_t, FakeIommu> hosts_;
  std::map<uint16_t, std::unique_ptr<DmaEngine>> engines_;
  std::vector<MsiMessage> delivered_;
  std::vector<IommuFault> told_;
  int interrupts_changed_ = 0;
  FakeMsiController interrupts_;
  Unit unit_{
      domains_,
      ram_.memory(),
      interrupts_,
      {{48, 40}, kSegment, true},
      {[this](const MsiMessage& message) { delivered_.push_back(message); },
       [this] { ++interrupts_changed_; }, [this](const IommuFault& fault) { told_.push_back(fault); }}};
  VtdDriver driver_{unit_, ram_, tables_};
  uint64_t root_ = 0, contexts_ = 0, top_ = 0;
};

TEST_F(UnitTest, TellsWhatItCanDo) {
  EXPECT_EQ(driver_.Read32(kVersion), 0x10u);
  const uint64_t capability = driver_.Read64(kCapability);
  EXPECT_EQ(capability & 7, 6u);
  EXPECT_EQ(capability >> 7 & 1, 1u) << "caching mode";
  EXPECT_EQ(capability >> 8 & 0x1f, 6u) << "tables of three and four levels";
  EXPECT_EQ((capability >> 16 & 0x3f) + 1, 48u);
  EXPECT_EQ((capability >> 24 & 0x3ff) * 16, kFaultRecords);
  EXPECT_EQ(capability >> 34 & 0xf, 3u);
  EXPECT_EQ((capability >> 40 & 0xff) + 1, kFaultRecordCount);
  EXPECT_EQ(capability >> 48 & 0x3f, 18u);
  const uint64_t extended = driver_.Read64(kExtendedCapability);
  EXPECT_EQ(extended & 0xff, 0x5fu) << "coherent, queue, device TLBs, interrupts with 32 bits, pass-through";
  EXPECT_EQ((extended >> 8 & 0x3ff) * 16, kInvalidateAddress);
  EXPECT_EQ(driver_.Read32(kCapability + 4), capability >> 32);
  Unit narrow(domains_, ram_.memory(), interrupts_, {{39, 40}, 0, false}, {[](const MsiMessage&) {}});
  VtdDriver driver(narrow, ram_, tables_);
  EXPECT_EQ(driver.Read64(kCapability) >> 8 & 0x1f, 2u);
  EXPECT_EQ(driver.Read64(kExtendedCapability) >> 4 & 1, 0u);
}

TEST_F(UnitTest, RegistersTakeAlignedWordsOnly) {
  driver_.Write64(kRootTable, 0x1234'5678'9abc'd000);
  EXPECT_EQ(driver_.Read64(kRootTable), 0x1234'5678'9abc'd000u);
  EXPECT_EQ(driver_.Read32(kRootTable + 4), 0x12345678u);
  driver_.Write32(kRootTable, 0x1000);
  EXPECT_EQ(driver_.Read64(kRootTable), 0x1234'5678'0000'1000u);
  uint8_t byte = 0xff;
  unit_.Write(kRootTable, {&byte, 1});
  unit_.Read(kRootTable + 7, {&byte, 1});
  EXPECT_EQ(byte, 0);
  driver_.Write64(kRootTable + 4, 0);
  EXPECT_EQ(driver_.Read64(kRootTable), 0x1234'5678'0000'1000u);
  driver_.Write64(kCapability, 0);
  EXPECT_NE(driver_.Read64(kCapability), 0u);
  EXPECT_EQ(driver_.Read64(0xf80), 0u);
}

TEST_F(UnitTest, DevicesBypassUntilTranslationIsOn) {
  AddDevice(8);
  SetContext(8, top_, 3);
  tables_.SetEntry(top_, 4, 0x7000, kFree | kRw);
  EXPECT_EQ(Reach(8, 0x5000), 0x5000u);
  driver_.SetRoot(root_);
  EXPECT_EQ(driver_.Read32(kGlobalStatus), kSetRootTable);
  EXPECT_EQ(Reach(8, 0x5000), 0x5000u);
  driver_.Command(kTranslation);
  EXPECT_EQ(driver_.Read32(kGlobalStatus), kSetRootTable | kTranslation);
  EXPECT_EQ(Reach(8, 0x5000), std::nullopt);
  EXPECT_EQ(Reach(8, 0x7010), kFree + 0x10);
  driver_.CommandOff(kTranslation);
  EXPECT_EQ(Reach(8, 0x7010), 0x7010u);
}

TEST_F(UnitTest, FollowsContextsThatItIsToldOf) {
  AddDevice(8);
  AddDevice(16);
  TurnOn();
  EXPECT_EQ(Reach(8, 0x5000), std::nullopt);
  tables_.SetEntry(top_, 4, 0x7000, kFree | kRw);
  SetContext(8, top_, 3);
  EXPECT_EQ(Reach(8, 0x7000), std::nullopt) << "not told yet";
  ASSERT_TRUE(driver_.InvalidateDevice(0, 8));
  EXPECT_EQ(Reach(8, 0x7000), kFree);
  SetContext(16, top_, 3);
  ASSERT_TRUE(driver_.InvalidateContexts());
  EXPECT_EQ(Reach(16, 0x7000), kFree);
  EXPECT_EQ(domains_.domains(), 1u) << "one table, one domain";
  SetContext(16, 0, 4, 1 | 2 << 2);
  ASSERT_TRUE(driver_.InvalidateDevice(3, 16));
  EXPECT_EQ(Reach(16, 0x5000), 0x5000u) << "passes through";
  EXPECT_EQ(Reach(8, 0x7000), kFree);
  SetContext(8, 0, 0, 0);
  ASSERT_TRUE(driver_.InvalidateContexts());
  EXPECT_EQ(Reach(8, 0x7000), std::nullopt);
  // A device that comes later is where its context says.
  SetContext(24, top_, 3);
  AddDevice(24);
  EXPECT_EQ(Reach(24, 0x7000), kFree);
  unit_.RemoveDevice(24);
  domains_.RemoveEndpoint(kSegment << 16 | 24);
  ASSERT_TRUE(driver_.InvalidateContexts());
}

TEST_F(UnitTest, MapsAndUnmapsWhatItIsToldOf) {
  AddDevice(8);
  SetContext(8, top_, 3);
  TurnOn();
  for (uint64_t i = 0; i < 4; ++i) tables_.SetEntry(top_, 4, 0x10000 + i * kPage, (kFree + i * kPage) | kRw);
  EXPECT_EQ(Reach(8, 0x10000), std::nullopt);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 2));
  EXPECT_EQ(hosts_.at(8).mappings().size(), 1u) << "pages that follow each other are one call";
  EXPECT_EQ(Reach(8, 0x13fff), kFree + 0x3fff);
  // Another domain's, and another address's.
  tables_.SetEntry(top_, 4, 0x14000, (kFree + 0x9000) | kRead);
  ASSERT_TRUE(driver_.InvalidatePages(4, 0x14000, 0));
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x15000, 0));
  EXPECT_EQ(Reach(8, 0x14000, false), std::nullopt);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x14000, 0));
  EXPECT_EQ(Reach(8, 0x14000, false), kFree + 0x9000);
  EXPECT_EQ(Reach(8, 0x14000, true), std::nullopt) << "read-only";
  // One page out of the midst, another replaced.
  tables_.SetEntry(top_, 4, 0x11000, 0);
  tables_.SetEntry(top_, 4, 0x12000, (kFree + 0x20000) | kRw);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x11000, 0));
  EXPECT_EQ(Reach(8, 0x10000), kFree);
  EXPECT_EQ(Reach(8, 0x11000), std::nullopt);
  EXPECT_EQ(Reach(8, 0x13000), kFree + 0x3000);
  ASSERT_TRUE(driver_.InvalidateDomain(3));
  EXPECT_EQ(Reach(8, 0x12000), kFree + 0x20000);
  tables_.SetEntry(top_, 4, 0x10000, 0);
  ASSERT_TRUE(driver_.InvalidateAll());
  EXPECT_EQ(Reach(8, 0x10000), std::nullopt);
  EXPECT_EQ(Reach(8, 0x12000), kFree + 0x20000);
}

TEST_F(UnitTest, WhatStaysMappedIsNotTouched) {
  AddDevice(8);
  SetContext(8, top_, 3);
  TurnOn();
  tables_.SetEntry(top_, 4, 0x10000, kFree | kRw);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 0));
  const uint64_t calls = hosts_.at(8).calls();
  // A page behind it, which follows it in memory too: the first one's mapping must not go for a moment.
  tables_.SetEntry(top_, 4, 0x11000, (kFree + kPage) | kRw);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 4));
  EXPECT_EQ(hosts_.at(8).calls(), calls + 1);
  ASSERT_TRUE(driver_.InvalidateAll());
  EXPECT_EQ(hosts_.at(8).calls(), calls + 1);
  EXPECT_EQ(Reach(8, 0x11000), kFree + kPage);
}

TEST_F(UnitTest, MapsTheRamOfARangeThatIsNotAllRam) {
  AddDevice(8);
  SetContext(8, top_, 3);
  TurnOn();
  for (uint64_t i = 0; i < 3; ++i) {
    tables_.SetEntry(top_, 4, 0x10000 + i * kPage, (kRam - kPage + i * kPage) | kRw);
  }
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 2));
  EXPECT_EQ(Reach(8, 0x10000), kRam - kPage);
  EXPECT_EQ(Reach(8, 0x11000), std::nullopt);
  EXPECT_EQ(unit_.pages_not_mapped(), 2u);
}

TEST_F(UnitTest, ACallThatFailsLeavesADeviceWithoutAccessOnly) {
  AddDevice(8);
  SetContext(8, top_, 3);
  TurnOn();
  tables_.SetEntry(top_, 4, 0x10000, kFree | kRw);
  hosts_.at(8).FailCall(0, ENOMEM);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 0));
  EXPECT_EQ(Reach(8, 0x10000), std::nullopt);
  EXPECT_EQ(unit_.pages_not_mapped(), 1u);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 0));
  EXPECT_EQ(Reach(8, 0x10000), kFree);
  // What cannot be unmapped is cut off as a whole.
  tables_.SetEntry(top_, 4, 0x10000, 0);
  hosts_.at(8).FailCall(0, EIO);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0x10000, 0));
  EXPECT_EQ(Reach(8, 0x10000), std::nullopt);
}

TEST_F(UnitTest, TablesWithoutEndMapNothingAndEnd) {
  AddDevice(8);
  SetContext(8, top_, 3);
  // Three tables that lead to one and the same next one from each entry, and map nothing.
  uint64_t table = top_;
  for (int level = 4; level > 1; --level) {
    const uint64_t next = tables_.NewPage();
    for (uint64_t i = 0; i < 512; ++i) ram_.PutObject(table + 8 * i, next | kRw);
    table = next;
  }
  TurnOn();
  EXPECT_TRUE(hosts_.at(8).mappings().empty());
  // One that leads to itself: as many pages as there are addresses.
  for (uint64_t i = 0; i < 512; ++i) ram_.PutObject(table + 8 * i, table | kRw);
  ASSERT_TRUE(driver_.InvalidatePages(3, 0, 0)) << "a part of it is few";
  EXPECT_EQ(hosts_.at(8).mappings().size(), 1u);
  for (uint64_t i = 0; i < 512; ++i) ram_.PutObject(top_ + 8 * i, top_ | kRw);
  ASSERT_TRUE(driver_.InvalidateAll());
  EXPECT_TRUE(hosts_.at(8).mappings().empty());
  // A queue full of that is worked off over several accesses.
  for (int i = 0; i < 8; ++i) driver_.Put(1 << 4 | 2);
  EXPECT_FALSE(driver_.Submit());
  int reads = 0;
  while (driver_.Read64(kQueueHead) != driver_.tail() && ++reads < 10) driver_.Read32(kFaultStatus);
  EXPECT_LT(reads, 10);
}

// Each of them may change all routes, and the kernel takes the whole table for each that changes.
TEST_F(UnitTest, AQueueOfInterruptInvalidationsIsWorkedOffOverSeveralAccesses) {
  TurnOn();
  const auto function = unit_.MakeFunction();
  function->SetSource(8);
  std::vector<std::unique_ptr<MsiRoute>> routes;
  for (int i = 0; i < 64; ++i) {
    routes.push_back(*function->AllocateRoute());
    ASSERT_EQ(routes.back()->Set({0xfee00000, 0x40}), OkStatus());
  }
  for (int i = 0; i < 200; ++i) driver_.Put(4);
  EXPECT_FALSE(driver_.Submit());
  int reads = 0;
  while (driver_.Read64(kQueueHead) != driver_.tail() && ++reads < 20) driver_.Read32(kFaultStatus);
  EXPECT_GT(reads, 1);
  EXPECT_LT(reads, 20);
}

TEST_F(UnitTest, StopsAtWhatIsNoDescriptor) {
  TurnOn();
  driver_.Write32(kFaultControl, 0);
  driver_.Put(0xf);
  EXPECT_FALSE(driver_.Submit());
  EXPECT_EQ(driver_.Read32(kFaultStatus) & 0xff, kQueueError);
  EXPECT_EQ(driver_.Read64(kQueueHead), 0u);
  EXPECT_EQ(delivered_.size(), 1u);
  // The driver makes it one that is right, and goes on.
  ram_.PutObject(driver_.queue(), uint64_t{1 << 4 | 1});
  driver_.Write32(kFaultStatus, kQueueError);
  EXPECT_EQ(driver_.Read64(kQueueHead), 32u);
  driver_.Write64(kQueueTail, 0x4000);
  EXPECT_EQ(driver_.Read32(kFaultStatus) & 0xff, kQueueError) << "outside of the queue";
  driver_.CommandOff(kQueued);
  EXPECT_EQ(driver_.Read64(kQueueHead), 0u);
  EXPECT_EQ(driver_.Read32(kGlobalStatus) & kQueued, 0u);
}

TEST_F(UnitTest, GoesAroundItsQueue) {
  TurnOn();
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(driver_.InvalidateContexts()) << i;
}

TEST_F(UnitTest, InterruptsWhenTheDriverWaits) {
  TurnOn();
  driver_.Write32(kCompletionData, 0x44);
  driver_.Write32(kCompletionAddress, 0xfee02000);
  driver_.Put(1 << 4 | 5);
  ASSERT_TRUE(driver_.Submit());
  EXPECT_TRUE(delivered_.empty()) << "masked";
  EXPECT_EQ(driver_.Read32(kCompletionStatus), 1u);
  EXPECT_EQ(driver_.Read32(kCompletionControl), Event::kMasked | Event::kPending);
  driver_.Write32(kCompletionControl, 0);
  EXPECT_EQ(delivered_, (std::vector<MsiMessage>{{0xfee02000, 0x44}}));
  driver_.Put(1 << 4 | 5);
  ASSERT_TRUE(driver_.Submit());
  EXPECT_EQ(delivered_.size(), 1u) << "the first is not acknowledged";
  driver_.Write32(kCompletionStatus, 1);
  driver_.Put(1 << 4 | 5);
  ASSERT_TRUE(driver_.Submit());
  EXPECT_EQ(delivered_.size(), 2u);
}

TEST_F(UnitTest, InvalidatesByRegistersToo) {
  AddDevice(8);
  driver_.SetRoot(root_);
  driver_.Command(kTranslation);
  SetContext(8, top_, 3);
  tables_.SetEntry(top_, 4, 0x7000, kFree | kRw);
  driver_.Write64(kContextCommand, uint64_t{0xa} << 60);
  EXPECT_EQ(driver_.Read64(kContextCommand), uint64_t{1} << 61 | uint64_t{1} << 59);
  EXPECT_EQ(Reach(8, 0x7000), kFree);
  tables_.SetEntry(top_, 4, 0x7000, (kFree + kPage) | kRw);
  driver_.Write64(kInvalidateAddress, 0x7000);
  driver_.Write64(kInvalidateCommand, uint64_t{0xb} << 60 | uint64_t{3} << 32);
  EXPECT_EQ(driver_.Read64(kInvalidateCommand) >> 57, 0x1bu);
  EXPECT_EQ(Reach(8, 0x7000), kFree + kPage);
}

TEST_F(UnitTest, TellsTheGuestOfFaults) {
  TurnOn();
  driver_.Write32(kFaultControl, 0);
  const IommuFault fault{kSegment << 16 | 8, 0x1234, true, IommuFault::Reason::kMapping};
  const auto reason = [this](uint32_t record) {
    return driver_.Read32(kFaultRecords + kFaultRecordSize * record + 12) & 0xff;
  };
  unit_.Report(fault);
  EXPECT_EQ(reason(0), 2u) << "no context";
  EXPECT_EQ(driver_.Read32(kFaultRecords), 0x1000u);
  EXPECT_EQ(driver_.Read32(kFaultRecords + 8), 8u);
  SetContext(8, top_, 3);
  unit_.Report(fault);
  EXPECT_EQ(reason(1), 5u) << "not for writing";
  tables_.SetEntry(top_, 4, 0x1000, kFree | kRw);
  unit_.Report(fault);
  EXPECT_EQ(reason(2), 5u) << "the guest has not told yet";
  unit_.Report({kSegment << 16 | 8, uint64_t{1} << 48, false, IommuFault::Reason::kMapping});
  EXPECT_EQ(reason(3), 4u) << "too high";
  SetContext(8, top_, 3, 3);
  unit_.Report(fault);
  EXPECT_EQ(reason(4), 0u) << "the guest does not want to know";
  EXPECT_EQ(delivered_.size(), 1u);
  EXPECT_EQ(told_.size(), 5u);
  EXPECT_EQ(told_[0], fault);
  for (int i = 0; i < 50; ++i) unit_.Report(fault);
  EXPECT_EQ(told_.size(), 16u);
  EXPECT_EQ(unit_.faults(), 55u);
}

TEST_F(UnitTest, RemapsInterruptsByTheTableThatWasMadeTheCurrentOne) {
  const uint64_t table = tables_.NewPage();
  ram_.PutObject(table + 16 * 3, uint64_t{0x41} << 16 | 1);
  auto function = unit_.MakeFunction();
  function->SetSource(8);
  auto route = *function->AllocateRoute();
  TurnOn();
  driver_.Write64(kInterruptTable, table | 1 << 11 | 7);
  driver_.Command(kSetInterruptTable);
  driver_.Command(kRemapping);
  EXPECT_EQ(driver_.Read32(kGlobalStatus),
            kTranslation | kSetRootTable | kQueued | kRemapping | kSetInterruptTable);
  EXPECT_EQ(interrupts_changed_, 2);
  ASSERT_TRUE(route->Set({0xfee00070, 0}).ok());
  route->Trigger();
  ram_.PutObject(table + 16 * 3, uint64_t{0x42} << 16 | 1);
  driver_.Put(uint64_t{3} << 32 | 1 << 4 | 4);
  ASSERT_TRUE(driver_.Submit());
  EXPECT_EQ(interrupts_changed_, 3);
  route->Trigger();
  ram_.PutObject(table + 16 * 3, uint64_t{0});
  driver_.Put(4);
  ASSERT_TRUE(driver_.Submit());
  route->Trigger();
  EXPECT_EQ(interrupts_.Count(0x41), 1u);
  EXPECT_EQ(interrupts_.Count(0x42), 1u);
  EXPECT_EQ(interrupts_.delivered().size(), 2u);
  EXPECT_EQ(driver_.Read32(kFaultRecords + 12) & 0xff, 0x22u);
  EXPECT_EQ(driver_.Read32(kFaultRecords + 4), 3u << 16);
}

// Against a model that knows nothing of tables: what each device reaches is at any time what was told last.
TEST_F(UnitTest, DevicesReachExactlyWhatTheGuestHasToldOf) {
  struct Page {
    uint64_t gpa;
    bool read, write;
  };
  struct Table {
    uint64_t top;
    uint32_t levels;
    uint16_t domain;
    std::map<uint64_t, Page> pages{};
    std::set<uint64_t> large{};  // addresses of large pages
  };
  constexpr uint16_t kDevices[] = {8, 16, 24};
  constexpr uint64_t kBase = 0xfec00000;  // up to and beyond the interrupt range
  constexpr uint64_t kPages = 0x600;
  constexpr uint64_t kLargePages = 512;
  constexpr uint64_t kHot = 0x1f0;
  std::vector<Table> tables = {{top_, 4, 1}, {tables_.NewPage(), 3, 2}, {tables_.NewPage(), 4, 3}};
  // Of each device: the table, or none (-1), or all of memory (-2).
  std::map<uint16_t, int> contexts;
  bool on = false;
  for (uint16_t source : kDevices) {
    AddDevice(source);
    contexts[source] = -1;
  }
  driver_.EnableQueue();
  driver_.SetRoot(root_);
  // Before a page inside of a large one is touched: the large one goes, as a whole.
  const auto open = [&](Table& table, uint64_t page) {
    const uint64_t first = page / kLargePages * kLargePages;
    if (table.large.erase(first) == 0) return true;
    tables_.SetEntry(table.top, table.levels, kBase + first * kPage, 0, 2);
    for (uint64_t i = 0; i < kLargePages; ++i) table.pages.erase(first + i);
    return driver_.InvalidatePages(table.domain, kBase + page * kPage, 0);
  };
  std::mt19937 random(11);
  const uint64_t steps = PropertyOps(1500);
  for (uint64_t step = 0; step < steps; ++step) {
    SCOPED_TRACE(step);
    Table& table = tables[random() % tables.size()];
    // Mostly few places, so that things meet.
    const uint64_t page = random() % 4 == 0 ? random() % kPages : kHot + random() % 24;
    const uint64_t rights = 1 + random() % 3;
    switch (random() % 10) {
      case 0: {
        const uint16_t source = kDevices[random() % 3];
        const int where = static_cast<int>(random() % 5) - 2;
        contexts[source] = where;
        if (where == -1) SetContext(static_cast<uint8_t>(source), 0, 0, 0);
        if (where == -2) SetContext(static_cast<uint8_t>(source), 0, 9, 1 | 2 << 2);
        if (where >= 0) {
          const Table& own = tables[static_cast<size_t>(where)];
          SetContext(static_cast<uint8_t>(source), own.top, own.domain, 1 | random() % 2 << 2,
                     own.levels - 2);
        }
        ASSERT_TRUE(random() % 2 == 0 ? driver_.InvalidateContexts() : driver_.InvalidateDevice(0, source));
        break;
      }
      case 1:
        if (random() % 4 != 0) break;
        on = !on;
        if (on) driver_.Command(kTranslation);
        if (!on) driver_.CommandOff(kTranslation);
        break;
      case 2:
      case 3:
      case 4: {  // pages, one behind the other or not
        const uint32_t mask = static_cast<uint32_t>(random() % 4);
        const uint64_t first = page & ~((uint64_t{1} << mask) - 1);
        const uint64_t gpa = kFree + random() % 64 * kPage;
        const bool joined = random() % 2 == 0;
        ASSERT_TRUE(open(table, first));
        for (uint64_t i = 0; i < uint64_t{1} << mask; ++i) {
          const uint64_t to = joined ? gpa + i * kPage : kFree + random() % 64 * kPage;
          tables_.SetEntry(table.top, table.levels, kBase + (first + i) * kPage, to | rights);
          table.pages[first + i] = {to, (rights & 1) != 0, (rights & 2) != 0};
        }
        ASSERT_TRUE(driver_.InvalidatePages(table.domain, kBase + first * kPage, mask));
        break;
      }
      case 5:
      case 6:
      case 7: {  // away with some
        const uint32_t mask = static_cast<uint32_t>(random() % 5);
        const uint64_t first = page & ~((uint64_t{1} << mask) - 1);
        ASSERT_TRUE(open(table, first));
        for (uint64_t i = 0; i < uint64_t{1} << mask; ++i) {
          tables_.SetEntry(table.top, table.levels, kBase + (first + i) * kPage, 0);
          table.pages.erase(first + i);
        }
        ASSERT_TRUE(driver_.InvalidatePages(table.domain, kBase + first * kPage, mask));
        break;
      }
      case 8: {  // several things, told of at once
        for (int i = 0; i < 3; ++i) {
          const uint64_t other = kHot + random() % 24, to = kFree + random() % 64 * kPage;
          ASSERT_TRUE(open(table, other));
          tables_.SetEntry(table.top, table.levels, kBase + other * kPage, to | kRw);
          table.pages[other] = {to, true, true};
          const uint64_t gone = kHot + random() % 24;
          ASSERT_TRUE(open(table, gone));
          tables_.SetEntry(table.top, table.levels, kBase + gone * kPage, 0);
          table.pages.erase(gone);
        }
        ASSERT_TRUE(random() % 2 == 0 ? driver_.InvalidateDomain(table.domain) : driver_.InvalidateAll());
        break;
      }
      case 9: {  // a page of 2 MiB in the place of a table, or none, told of by any of its addresses
        const uint64_t first = page / kLargePages * kLargePages;
        const uint64_t start = kBase + first * kPage;
        const uint64_t to = random() % 2 == 0 ? uint64_t{4} << 20 : uint64_t{6} << 20;
        const bool there = random() % 2 == 0;
        tables_.SetEntry(table.top, table.levels, start, there ? to | GuestTables::kLarge | rights : 0, 2);
        for (uint64_t i = 0; i < kLargePages; ++i) {
          table.pages.erase(first + i);
          if (there) table.pages[first + i] = {to + i * kPage, (rights & 1) != 0, (rights & 2) != 0};
        }
        if (there) table.large.insert(first);
        if (!there) table.large.erase(first);
        ASSERT_TRUE(driver_.InvalidatePages(table.domain, start, 9));
        break;
      }
    }
    for (uint16_t source : kDevices) {
      const int where = on ? contexts.at(source) : -2;
      for (uint64_t at = step % 7; at < kPages; at += 7) {
        const uint64_t device_address = kBase + at * kPage;
        for (bool write : {false, true}) {
          std::optional<uint64_t> expected;
          const bool message = device_address >= kInterruptFirst && device_address <= kInterruptLast;
          if (where >= 0 && !message) {
            const auto& pages = tables[static_cast<size_t>(where)].pages;
            auto mapped = pages.find(at);
            if (mapped != pages.end() && (write ? mapped->second.write : mapped->second.read)) {
              expected = mapped->second.gpa;
            }
          }
          ASSERT_EQ(Reach(source, device_address, write), expected)
              << "device " << source << ", table " << where << ", address " << device_address << ", "
              << write;
        }
      }
      ASSERT_EQ(Reach(source, kFree), where == -2 ? std::optional(kFree) : std::nullopt);
    }
  }
}

}  // namespace
}  // namespace berth::vmm::vtd
