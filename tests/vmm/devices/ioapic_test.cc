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

TEST_F(IoApicTest, AnEntryInRemappableFormatNamesATableEntry) {
  EXPECT_EQ(RedirectionMessage(uint64_t{0x1234} << 49 | uint64_t{1} << 48 | 1 << 11 | 4),
            (MsiMessage{0xfee00000 | 0x1234 << 5 | 1 << 4 | 1 << 2, 0}));
  WriteRegister(0x11, 1 << 16);
  EXPECT_EQ(ReadRegister(0x11), 0u) << "reserved without a remapping unit";
}

// Linux programs its own number as the vector, and makes an edge of what is a level.
TEST_F(IoApicTest, DeliversWhatTheRemappingUnitMakesOfAnEntry) {
  std::optional<MsiMessage> answer = MsiMessage{0xfee03000, 0x55};
  std::vector<bool> reported;
  ioapic_.SetRemap([&](const MsiMessage& message, bool report) {
    reported.push_back(report);
    return (message.address & 1 << 4) != 0 ? answer : message;
  });
  EXPECT_EQ(ReadRegister(0x01), 0x00170020u);
  WriteRegister(0x19, 3u << 17 | 1u << 16);
  WriteRegister(0x18, kLevel | 4);
  EXPECT_EQ(ReadRegister(0x19), 3u << 17 | 1u << 16);
  EXPECT_EQ(sink_.routes.at(4).first, *answer);
  ioapic_.SetLevel(4, true);
  EXPECT_EQ(sink_.delivered, (std::vector<uint32_t>{0x55}));
  // No local APIC ends it, but the guest does, by the number that it knows.
  ioapic_.EndOfInterrupt(4);
  EXPECT_EQ(sink_.delivered.size(), 1u);
  const uint8_t vector[4] = {4, 0, 0, 0};
  ioapic_.Write(0x40, vector);
  EXPECT_EQ(sink_.delivered.size(), 2u);
  // Of one that stays a level a local APIC tells the end, by the vector that it got.
  ioapic_.EndOfInterrupt(0x55);
  EXPECT_EQ(sink_.delivered.size(), 3u);
  // The unit remaps in another way, then not at all.
  answer = MsiMessage{0xfee03000, 0x66};
  ioapic_.RefreshRoutes();
  EXPECT_EQ(sink_.routes.at(4).first, *answer);
  EXPECT_FALSE(reported.back());
  answer.reset();
  ioapic_.RefreshRoutes();
  EXPECT_TRUE(sink_.routes.at(4).second) << "as if it were masked";
  ioapic_.Write(0x40, vector);
  EXPECT_EQ(sink_.delivered.size(), 3u);
  EXPECT_TRUE(reported.back());
}

TEST_F(IoApicTest, HasNoEndOfInterruptRegisterWithoutARemappingUnit) {
  WriteRegister(0x18, kLevel | 4);
  ioapic_.SetLevel(4, true);
  const uint8_t vector[4] = {4, 0, 0, 0};
  ioapic_.Write(0x40, vector);
  EXPECT_EQ(sink_.delivered.size(), 1u);
}

TEST_F(IoApicTest, DeliversAnEdgeOnceAlsoOneThatCameWhileMasked) {
  WriteRegister(0x18, 0x31);
  ioapic_.SetLevel(4, true);
  ioapic_.SetLevel(4, true);
  EXPECT_EQ(sink_.delivered, (std::vector<uint32_t>{0x31}));

  ioapic_.SetLevel(4, false);
  WriteRegister(0x18, 0x31 | kMask);
  ioapic_.SetLevel(4, true);
  ioapic_.SetLevel(4, false);
  EXPECT_EQ(sink_.delivered.size(), 1u);
  WriteRegister(0x18, 0x32);
  EXPECT_EQ(sink_.delivered, (std::vector<uint32_t>{0x31, 0x32}));
  WriteRegister(0x18, 0x32 | kMask);
  WriteRegister(0x18, 0x32);
  EXPECT_EQ(sink_.delivered.size(), 2u) << "once";

  WriteRegister(0x18, 0x32 | kMask);
  ioapic_.SetLevel(4, true);
  ioapic_.SetLevel(4, false);
  WriteRegister(0x18, 0x32 | kLevel);
  WriteRegister(0x18, 0x32);
  EXPECT_EQ(sink_.delivered.size(), 2u) << "a pin that has become level-triggered has no edges";
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
