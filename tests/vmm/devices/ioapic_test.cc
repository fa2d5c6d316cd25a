#include "vmm/devices/ioapic.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

namespace berth::vmm {
namespace {

class FakeSink : public IoApicSink {
 public:
  void SetRoute(uint32_t pin, const MsiMessage& message, bool masked) override {
    routes[pin] = {message, masked};
  }
  void Deliver(const MsiMessage& message) override { delivered.push_back(message.data & 0xff); }

  std::map<uint32_t, std::pair<MsiMessage, bool>> routes;
  std::vector<uint32_t> delivered;
};

class IoApicTest : public ::testing::Test {
 protected:
  void WriteRegister(uint8_t index, uint32_t value) {
    ioapic_.Write(0, {&index, 1});
    uint8_t bytes[4];
    std::memcpy(bytes, &value, 4);
    ioapic_.Write(0x10, bytes);
  }
  uint32_t ReadRegister(uint8_t index) {
    ioapic_.Write(0, {&index, 1});
    uint8_t bytes[4];
    ioapic_.Read(0x10, bytes);
    uint32_t value;
    std::memcpy(&value, bytes, 4);
    return value;
  }

  FakeSink sink_;
  IoApic ioapic_{sink_};
};

constexpr uint32_t kLevel = 1 << 15;
constexpr uint32_t kMask = 1 << 16;

TEST_F(IoApicTest, Has24MaskedPinsAndVersion11) {
  EXPECT_EQ(ReadRegister(0x01), 0x00170011u);
  EXPECT_EQ(ReadRegister(0x10), kMask);
  EXPECT_EQ(ReadRegister(0x3e), kMask);
  EXPECT_EQ(ReadRegister(0x40), 0u);
  EXPECT_EQ(ReadRegister(0xff), 0u);
}

TEST_F(IoApicTest, TellsTheRouteOfAPinAsAnMsi) {
  WriteRegister(0x10 + 2 * 4 + 1, 0x02000000);
  WriteRegister(0x10 + 2 * 4, 0x0931);  // logical, lowest priority, vector 0x31
  EXPECT_EQ(sink_.routes.at(4).first, (MsiMessage{0xfee02004, 0x0131}));
  EXPECT_FALSE(sink_.routes.at(4).second);
}

TEST_F(IoApicTest, PutsTheExtendedDestinationWhereKvmWantsIt) {
  EXPECT_EQ(RedirectionMessage(uint64_t{0x7f} << 56 | uint64_t{1} << 49 | 0x40).address,
            0xfee7f000u | uint64_t{1} << 40);
}

TEST_F(IoApicTest, DeliversAnEdgeOnceAndIgnoresItWhenMasked) {
  WriteRegister(0x18, 0x31);
  ioapic_.SetLevel(4, true);
  ioapic_.SetLevel(4, true);
  EXPECT_EQ(sink_.delivered, (std::vector<uint32_t>{0x31}));

  ioapic_.SetLevel(4, false);
  WriteRegister(0x18, 0x31 | kMask);
  ioapic_.SetLevel(4, true);
  WriteRegister(0x18, 0x31);
  EXPECT_EQ(sink_.delivered.size(), 1u);
}

TEST_F(IoApicTest, RedeliversALevelAfterEndOfInterruptWhileItStaysHigh) {
  WriteRegister(0x1a, 0x41 | kLevel);
  ioapic_.SetLevel(5, true);
  EXPECT_EQ(sink_.delivered.size(), 1u);
  EXPECT_EQ(ReadRegister(0x1a), 0x41 | kLevel | 1u << 14);  // remote IRR

  ioapic_.SetLevel(5, false);
  ioapic_.SetLevel(5, true);
  EXPECT_EQ(sink_.delivered.size(), 1u);  // in service

  ioapic_.EndOfInterrupt(0x42);
  EXPECT_EQ(sink_.delivered.size(), 1u);
  ioapic_.EndOfInterrupt(0x41);
  EXPECT_EQ(sink_.delivered.size(), 2u);

  ioapic_.SetLevel(5, false);
  ioapic_.EndOfInterrupt(0x41);
  EXPECT_EQ(sink_.delivered.size(), 2u);
  EXPECT_EQ(ReadRegister(0x1a), 0x41 | kLevel);
}

TEST_F(IoApicTest, DeliversAHighLevelWhenItIsUnmasked) {
  WriteRegister(0x1a, 0x41 | kLevel | kMask);
  ioapic_.SetLevel(5, true);
  EXPECT_TRUE(sink_.delivered.empty());
  WriteRegister(0x1a, 0x41 | kLevel);
  EXPECT_EQ(sink_.delivered, (std::vector<uint32_t>{0x41}));
}

TEST_F(IoApicTest, SwitchingToEdgeClearsRemoteIrrAndTheGuestCannotSetIt) {
  WriteRegister(0x1a, 0x41 | kLevel | 1u << 14);
  EXPECT_EQ(ReadRegister(0x1a), 0x41 | kLevel);
  ioapic_.SetLevel(5, true);
  WriteRegister(0x1a, 0x41 | kMask);
  EXPECT_EQ(ReadRegister(0x1a), 0x41 | kMask);
}

TEST_F(IoApicTest, TakesOnlyWholeRegistersAndIgnoresPinsThatItDoesNotHave) {
  const uint8_t byte[1] = {0x55};
  ioapic_.Write(0x10, byte);
  EXPECT_EQ(ReadRegister(0x10), kMask);
  ioapic_.SetLevel(24, true);
  ioapic_.SetLevel(~0u, true);
  EXPECT_TRUE(sink_.delivered.empty());
}

}  // namespace
}  // namespace berth::vmm
