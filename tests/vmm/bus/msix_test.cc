#include "vmm/bus/msix.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/fake_interrupts.h"

namespace berth::vmm {
namespace {

class MsixTest : public ::testing::Test {
 protected:
  void WriteWord(uint32_t vector, uint32_t word, uint32_t value) {
    msix_->WriteTable(16 * vector + 4 * word, {reinterpret_cast<const uint8_t*>(&value), 4});
  }
  uint32_t ReadWord(uint32_t vector, uint32_t word) {
    uint32_t value = 0;
    msix_->ReadTable(16 * vector + 4 * word, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  void Program(uint32_t vector, uint32_t data) {
    WriteWord(vector, 0, 0xfee01000);
    WriteWord(vector, 1, 0);
    WriteWord(vector, 2, data);
  }
  uint64_t Pending() {
    uint64_t bits = 0;
    msix_->ReadPba(0, {reinterpret_cast<uint8_t*>(&bits), 8});
    return bits;
  }

  FakeMsiController controller_;
  std::unique_ptr<Msix> msix_ = *Msix::Create(controller_, 3);
};

TEST_F(MsixTest, StartsWithAllVectorsMasked) {
  for (uint32_t vector = 0; vector < 3; ++vector) EXPECT_EQ(ReadWord(vector, 3), 1u);
  EXPECT_EQ(ReadWord(3, 3), 0u);  // no such entry
  EXPECT_EQ(controller_.routes(), 3u);
}

TEST_F(MsixTest, DeliversTheMessageOfAnUnmaskedVector) {
  msix_->SetControl(Msix::kEnable);
  Program(1, 0x41);
  WriteWord(1, 3, 0);
  msix_->Trigger(1);
  EXPECT_EQ(controller_.delivered(), (std::vector<MsiMessage>{{0xfee01000, 0x41}}));
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, KeepsATriggerOfAMaskedVectorUntilItIsUnmasked) {
  msix_->SetControl(Msix::kEnable);
  Program(2, 0x42);
  msix_->Trigger(2);
  msix_->Trigger(2);
  EXPECT_TRUE(controller_.delivered().empty());
  EXPECT_EQ(Pending(), 4u);
  WriteWord(2, 3, 0);
  EXPECT_EQ(controller_.Count(0x42), 1u);
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, HonoursTheFunctionMaskAndTheEnableBit) {
  Program(0, 0x40);
  WriteWord(0, 3, 0);
  msix_->Trigger(0);
  EXPECT_EQ(Pending(), 1u);
  msix_->SetControl(Msix::kEnable | Msix::kFunctionMask);
  EXPECT_TRUE(controller_.delivered().empty());
  msix_->SetControl(Msix::kEnable);
  EXPECT_EQ(controller_.Count(0x40), 1u);
}

TEST_F(MsixTest, UsesAMessageThatWasChangedWhileMasked) {
  msix_->SetControl(Msix::kEnable);
  Program(0, 0x40);
  WriteWord(0, 3, 0);
  msix_->Trigger(0);
  WriteWord(0, 3, 1);
  Program(0, 0x50);
  msix_->Trigger(0);
  WriteWord(0, 3, 0);
  EXPECT_EQ(controller_.Count(0x40), 1u);
  EXPECT_EQ(controller_.Count(0x50), 1u);
}

TEST_F(MsixTest, IgnoresVectorsAndAccessesThatDoNotExist) {
  msix_->Trigger(3);
  msix_->Trigger(0xffff);
  WriteWord(3, 2, 0xff);
  const uint8_t bytes[2] = {0xff, 0xff};
  msix_->WriteTable(8, bytes);
  msix_->WriteTable(2, {bytes, 2});
  EXPECT_EQ(ReadWord(0, 2), 0u);
  WriteWord(0, 3, 0xfffffffe);  // reserved bits stay zero
  EXPECT_EQ(ReadWord(0, 3), 0u);
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, TakesA64BitWriteAsTwoWords) {
  const uint64_t value = 0x1122334455667788;
  msix_->WriteTable(16, {reinterpret_cast<const uint8_t*>(&value), 8});
  EXPECT_EQ(ReadWord(1, 0), 0x55667788u);
  EXPECT_EQ(ReadWord(1, 1), 0x11223344u);
}

TEST_F(MsixTest, ForgetsWhatIsPendingAtReset) {
  msix_->SetControl(Msix::kEnable);
  msix_->Trigger(0);
  msix_->ClearPending();
  EXPECT_EQ(Pending(), 0u);
  WriteWord(0, 3, 0);
  EXPECT_TRUE(controller_.delivered().empty());
}

TEST(Msix, GivesBackItsRoutes) {
  FakeMsiController controller(4);
  auto first = Msix::Create(controller, 3);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(Msix::Create(controller, 2).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(controller.routes(), 3u);
  first->reset();
  EXPECT_EQ(controller.routes(), 0u);
}

}  // namespace
}  // namespace berth::vmm
