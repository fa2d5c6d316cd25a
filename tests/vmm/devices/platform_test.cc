#include "vmm/devices/platform.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/fake_irq_line.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

void Out(BusDevice& device, uint64_t offset, uint8_t value) {
  device.Write(offset, {&value, 1});
}
uint8_t In(BusDevice& device, uint64_t offset) {
  uint8_t value = 0xee;
  device.Read(offset, {&value, 1});
  return value;
}

TEST(I8042, ResetsOnThePulseOfTheResetLineOnly) {
  int resets = 0;
  I8042 device([&] { ++resets; });
  Out(device, 4, 0xff);
  Out(device, 0, 0xfe);
  EXPECT_EQ(resets, 0);
  Out(device, 4, 0xfe);
  EXPECT_EQ(resets, 1);
  EXPECT_EQ(In(device, 4), 0);
  EXPECT_EQ(In(device, 1), 0x20);
}

TEST(AcpiPower, ShutsDownOnS5AndResetsOnTheResetValue) {
  int shutdowns = 0;
  int resets = 0;
  AcpiPower device([&] { ++shutdowns; }, [&] { ++resets; });

  Out(device, 0, 5 << 2);               // type without enable
  Out(device, 0, (3 << 2) | (1 << 5));  // S3
  Out(device, 2, 2);
  Out(device, 1, (5 << 2) | (1 << 5));  // status register
  EXPECT_EQ(shutdowns + resets, 0);

  Out(device, 0, (5 << 2) | (1 << 5));
  EXPECT_EQ(shutdowns, 1);
  Out(device, 2, 1);
  EXPECT_EQ(resets, 1);
  EXPECT_EQ(In(device, 1), 0);
}

TEST(GedNotifier, KeepsBitsUntilTheyAreReadAndPulsesItsLine) {
  IrqRecord irq;
  GedNotifier device(std::make_unique<FakeIrqLine>(irq));
  device.Notify(layout::kGedPowerButton);
  device.Notify(layout::kGedPci);
  EXPECT_EQ(irq.rising_edges, 2);
  EXPECT_FALSE(irq.high);
  EXPECT_EQ(In(device, 0), 0x0c);
  EXPECT_EQ(In(device, 0), 0x00);
}

TEST(PmTimer, CountsAtItsFrequencyAndWrapsAt32Bits) {
  uint64_t now = 1000000000;
  PmTimer device([&] { return now; });
  uint8_t bytes[4];
  uint32_t value;
  device.Read(0, bytes);
  std::memcpy(&value, bytes, 4);
  EXPECT_EQ(value, 3579545u);

  now = uint64_t{1200} * 1000000000;  // 4295454000 ticks
  device.Read(0, bytes);
  std::memcpy(&value, bytes, 4);
  EXPECT_EQ(value, 4295454000u - 4294967296u);
  EXPECT_EQ(In(device, 1), (value >> 8) & 0xff);
}

TEST(Rtc, TellsTheTimeOfDayInBcd) {
  Rtc rtc([] { return time_t{1794830579}; });  // 2026-11-16 12:02:59 UTC, a Monday
  const std::pair<uint8_t, uint8_t> expected[] = {{0x00, 0x59}, {0x02, 0x02}, {0x04, 0x12}, {0x06, 0x02},
                                                  {0x07, 0x16}, {0x08, 0x11}, {0x09, 0x26}, {0x32, 0x20},
                                                  {0x0a, 0x26}, {0x0b, 0x02}, {0x0c, 0x00}, {0x0d, 0x80}};
  for (auto [index, value] : expected) {
    Out(rtc, 0, index);
    EXPECT_EQ(In(rtc, 1), value) << "register " << int{index};
  }
}

TEST(Rtc, KeepsMemoryButNotATimeThatTheGuestWrites) {
  Rtc rtc([] { return time_t{0}; });
  Out(rtc, 0, 0x80 | 0x40);  // bit 7 is not part of the index
  Out(rtc, 1, 0xab);
  EXPECT_EQ(In(rtc, 1), 0xab);
  Out(rtc, 0, 0x09);
  Out(rtc, 1, 0x99);
  EXPECT_EQ(In(rtc, 1), 0x70);
}

}  // namespace
}  // namespace berth::vmm
