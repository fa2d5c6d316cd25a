#include "vmm/viommu/vtd/fault_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace berth::vmm::vtd {
namespace {

class FaultLogTest : public testing::Test {
 protected:
  void SetUp() override {
    log_.Write(kFaultData, 0x31);
    log_.Write(kFaultAddress, 0xfee01000);
    log_.Write(kFaultUpperAddress, 0x100);
  }
  uint64_t Half(uint32_t record, uint32_t half) {
    const uint32_t at = kFaultRecords + kFaultRecordSize * record + 8 * half;
    return log_.Read(at) | uint64_t{log_.Read(at + 4)} << 32;
  }
  void Take(uint32_t record) { log_.Write(kFaultRecords + kFaultRecordSize * record + 12, 1u << 31); }
  void Fault(uint64_t address = 0x1000) { log_.RecordAccess(8, address, true, Reason::kWrite); }

  std::vector<MsiMessage> delivered_;
  FaultLog log_{[this](const MsiMessage& message) { delivered_.push_back(message); }};
};

TEST_F(FaultLogTest, RecordsWhoWantedWhat) {
  log_.RecordAccess(0x118, 0x12345678, false, Reason::kRead);
  log_.RecordInterrupt(0xff00, 0xabcd, Reason::kIrteNotPresent);
  EXPECT_EQ(Half(0, 0), 0x12345000u);
  EXPECT_EQ(Half(0, 1), 0xc000'0006'0000'0118u);
  EXPECT_EQ(Half(1, 0), uint64_t{0xabcd} << 48);
  EXPECT_EQ(Half(1, 1), 0x8000'0022'0000'ff00u);
  EXPECT_EQ(log_.Read(kFaultStatus), kFaultPending);
  Take(0);
  EXPECT_EQ(log_.Read(kFaultStatus), kFaultPending | 1 << 8) << "the next one is the second";
  Take(1);
  EXPECT_EQ(log_.Read(kFaultStatus) & 0xff, 0u);
  EXPECT_EQ(Half(1, 1) >> 63, 0u);
}

TEST_F(FaultLogTest, InterruptsOnceForWhatIsPending) {
  Fault();
  EXPECT_TRUE(delivered_.empty()) << "masked at power-on";
  EXPECT_EQ(log_.Read(kFaultControl), Event::kMasked | Event::kPending);
  log_.Write(kFaultControl, 0);
  EXPECT_EQ(delivered_, (std::vector<MsiMessage>{{uint64_t{0x100} << 32 | 0xfee01000, 0x31}}));
  EXPECT_EQ(log_.Read(kFaultControl), 0u);
  Fault();
  EXPECT_EQ(delivered_.size(), 1u);
  Take(0);
  Take(1);
  Fault();
  EXPECT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(log_.Read(kFaultStatus), kFaultPending | 2 << 8);
}

TEST_F(FaultLogTest, ForgetsAnInterruptWhoseCauseIsGone) {
  Fault();
  Take(0);
  log_.Write(kFaultControl, 0);
  EXPECT_TRUE(delivered_.empty());
}

TEST_F(FaultLogTest, TellsThatFaultsWereLost) {
  for (uint64_t i = 0; i < kFaultRecordCount + 3; ++i) Fault(i << 12);
  EXPECT_EQ(log_.Read(kFaultStatus), kFaultPending | kFaultOverflow);
  for (uint32_t i = 0; i < kFaultRecordCount; ++i) {
    EXPECT_EQ(Half(i, 0), uint64_t{i} << 12);
    Take(i);
  }
  Fault(0x99000);
  EXPECT_EQ(log_.Read(kFaultStatus) & 0xff, kFaultOverflow) << "until it is taken note of";
  log_.Write(kFaultStatus, kFaultOverflow);
  Fault(0x99000);
  EXPECT_EQ(log_.Read(kFaultStatus), kFaultPending);
  EXPECT_EQ(Half(0, 0), 0x99000u);
}

TEST_F(FaultLogTest, TellsOfAQueueThatHasStopped) {
  log_.Write(kFaultControl, 0);
  log_.SetQueueError();
  EXPECT_EQ(log_.Read(kFaultStatus), kQueueError);
  EXPECT_EQ(delivered_.size(), 1u);
  log_.Write(kFaultStatus, kQueueError);
  EXPECT_FALSE(log_.queue_error());
}

}  // namespace
}  // namespace berth::vmm::vtd
