#include "vmm/devices/shared_pin.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace berth::vmm {
namespace {

class RecordingSink : public IoApicSink {
 public:
  void SetRoute(uint32_t, const MsiMessage&, bool) override {}
  void Deliver(const MsiMessage& message) override { delivered.push_back(message.data & 0xff); }
  std::vector<uint32_t> delivered;
};

class SharedPinTest : public testing::Test {
 protected:
  void SetUp() override {  // pin 17: level triggered, vector 0x51, not masked
    const uint8_t select = 0x10 + 2 * 17;
    ioapic_->Write(0, {&select, 1});
    const uint32_t entry = 1 << 15 | 0x51;
    ioapic_->Write(0x10, {reinterpret_cast<const uint8_t*>(&entry), 4});
  }

  RecordingSink sink_;
  std::shared_ptr<IoApic> ioapic_ = std::make_shared<IoApic>(sink_);
  std::shared_ptr<SharedPin> pin_ = SharedPin::Create(ioapic_, 17);
};

TEST_F(SharedPinTest, StaysHighWhileAnyLineIs) {
  auto a = pin_->Connect({});
  auto b = pin_->Connect({});
  a->SetLevel(true);
  b->SetLevel(true);
  a->SetLevel(false);
  EXPECT_EQ(sink_.delivered.size(), 1u);

  ioapic_->EndOfInterrupt(0x51);
  EXPECT_EQ(sink_.delivered.size(), 2u);  // b still wants one
  b->SetLevel(false);
  ioapic_->EndOfInterrupt(0x51);
  EXPECT_EQ(sink_.delivered.size(), 2u);
}

TEST_F(SharedPinTest, AsksEachDeviceAtTheEndOfAnInterrupt) {
  std::unique_ptr<IrqLine> line;
  int asked = 0, again = 1;
  line = pin_->Connect([&] {
    ++asked;
    line->SetLevel(false);
    if (again-- > 0) line->SetLevel(true);
  });
  line->SetLevel(true);

  ioapic_->EndOfInterrupt(0x51);
  ioapic_->EndOfInterrupt(0x51);
  ioapic_->EndOfInterrupt(0x51);  // nothing is in service
  ioapic_->EndOfInterrupt(0x52);

  EXPECT_EQ(asked, 2);
  EXPECT_EQ(sink_.delivered.size(), 2u);
}

TEST_F(SharedPinTest, ForgetsALineThatIsGone) {
  auto line = pin_->Connect([] { FAIL(); });
  line->SetLevel(true);
  line.reset();

  ioapic_->EndOfInterrupt(0x51);

  EXPECT_EQ(sink_.delivered.size(), 1u);
}

}  // namespace
}  // namespace berth::vmm
