#include "vmm/devices/serial.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/fakes/fake_irq_line.h"

namespace berth::vmm {
namespace {

class FakeSerialSink : public SerialSink {
 public:
  void Put(uint8_t byte) override { text.push_back(static_cast<char>(byte)); }
  void InputRoom() override { ++room_calls; }

  std::string text;
  int room_calls = 0;
};

class SerialTest : public ::testing::Test {
 protected:
  void Out(uint64_t offset, uint8_t value) { serial_.Write(offset, {&value, 1}); }
  uint8_t In(uint64_t offset) {
    uint8_t value = 0;
    serial_.Read(offset, {&value, 1});
    return value;
  }
  size_t Receive(const std::string& text) {
    return serial_.Receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  IrqRecord irq_;
  std::shared_ptr<FakeSerialSink> sink_ = std::make_shared<FakeSerialSink>();
  Serial serial_{std::make_unique<FakeIrqLine>(irq_), sink_};
};

TEST_F(SerialTest, SendsBytesAndIsAlwaysReadyForMore) {
  Out(0, 'h');
  Out(0, 'i');
  EXPECT_EQ(sink_->text, "hi");
  EXPECT_EQ(In(5), 0x60);
  EXPECT_EQ(irq_.rising_edges, 0);  // no interrupt is enabled
}

TEST_F(SerialTest, RaisesTheTransmitterInterruptWhenItIsEnabledAndAfterEachAcknowledgedByte) {
  Out(1, 0x02);
  EXPECT_TRUE(irq_.high);
  EXPECT_EQ(In(2), 0x02);
  EXPECT_FALSE(irq_.high);
  EXPECT_EQ(In(2), 0x01);

  Out(0, 'x');
  EXPECT_TRUE(irq_.high);
  EXPECT_EQ(irq_.rising_edges, 2);
  Out(1, 0x00);
  EXPECT_FALSE(irq_.high);
}

TEST_F(SerialTest, InterruptsForInputUntilItIsRead) {
  Out(1, 0x01);
  EXPECT_EQ(Receive("ab"), 2u);
  EXPECT_TRUE(irq_.high);
  EXPECT_EQ(In(2), 0x04);
  EXPECT_EQ(In(5), 0x61);
  EXPECT_EQ(In(0), 'a');
  EXPECT_TRUE(irq_.high);
  EXPECT_EQ(In(0), 'b');
  EXPECT_FALSE(irq_.high);
  EXPECT_EQ(In(5), 0x60);
  EXPECT_EQ(In(0), 0);
}

TEST_F(SerialTest, TakesNoMoreInputThanItHoldsAndAsksForTheRest) {
  EXPECT_EQ(Receive(std::string(100, 'x')), 64u);
  EXPECT_EQ(Receive("y"), 0u);
  for (int i = 0; i < 63; ++i) In(0);
  EXPECT_EQ(sink_->room_calls, 0);
  In(0);
  EXPECT_EQ(sink_->room_calls, 1);
  EXPECT_EQ(Receive(std::string(36, 'x')), 36u);
}

TEST_F(SerialTest, AsksForTheRestWhenTheGuestClearsTheFifo) {
  EXPECT_EQ(Receive(std::string(65, 'x')), 64u);
  Out(2, 0x03);
  EXPECT_EQ(sink_->room_calls, 1);
  EXPECT_EQ(In(5), 0x60);
}

TEST_F(SerialTest, LooksLikeA16550AWithTheFifoEnabled) {
  EXPECT_EQ(In(2) & 0xc0, 0);
  Out(2, 0x01);
  EXPECT_EQ(In(2), 0xc1);
}

TEST_F(SerialTest, KeepsTheDivisorApartFromDataAndInterruptEnable) {
  Out(3, 0x83);
  Out(0, 0x01);
  Out(1, 0x02);
  EXPECT_EQ(In(0), 0x01);
  EXPECT_EQ(In(1), 0x02);
  Out(3, 0x03);
  EXPECT_EQ(In(1), 0x00);
  EXPECT_EQ(sink_->text, "");
}

TEST_F(SerialTest, LoopsBackDataAndModemLinesWithoutTouchingTheWire) {
  Out(4, 0x1a);  // loopback, RTS, OUT2: Linux expects DCD and CTS
  EXPECT_EQ(In(6) & 0xf0, 0x90);
  Out(0, 'z');
  EXPECT_EQ(sink_->text, "");
  EXPECT_EQ(In(0), 'z');
  EXPECT_EQ(Receive("wire"), 0u);
  Out(4, 0x0b);
  EXPECT_EQ(sink_->room_calls, 1);
  EXPECT_EQ(In(6), 0xb0);
}

TEST_F(SerialTest, ReportsAnOverrunInLoopbackOnce) {
  Out(1, 0x04);
  Out(4, 0x10);
  for (int i = 0; i < 65; ++i) Out(0, 'z');
  EXPECT_TRUE(irq_.high);
  EXPECT_EQ(In(2), 0x06);
  EXPECT_EQ(In(5), 0x63);
  EXPECT_EQ(In(5), 0x61);
  EXPECT_FALSE(irq_.high);
}

}  // namespace
}  // namespace berth::vmm
