#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/fake_pci_function.h"
#include "vmm/bus/bar_allocator.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_root.h"

namespace berth::vmm {
namespace {

constexpr PciWindow kLow{0xc0000000, 0x28000000};
constexpr PciWindow kHigh{0x400000000, 0x100000000};

TEST(PciConfigSpace, AnswersTheSizingProtocol) {
  PciConfigSpace config(PciIdentity{.vendor = 0x1234, .device = 0x5678, .class_code = 0x020000});
  config.AddBar(0, BarKind::kMemory32, 0x1000, false);
  config.AddBar(2, BarKind::kMemory64, uint64_t{1} << 33, true);
  const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
  for (uint32_t offset = 0x10; offset < 0x28; offset += 4) config.Write(offset, ones);
  EXPECT_EQ(config.Read32(0x10), 0xfffff000u);
  EXPECT_EQ(config.Read32(0x14), 0u);
  EXPECT_EQ(config.Read32(0x18), 0x0000000cu);  // 64 bits, prefetchable
  EXPECT_EQ(config.Read32(0x1c), 0xfffffffeu);
  EXPECT_EQ(config.Read32(0x20), 0u);
}

TEST(PciConfigSpace, LetsTheGuestWriteOnlyWhatIsWritable) {
  PciConfigSpace config(
      PciIdentity{.vendor = 0x1234, .device = 0x5678, .class_code = 0x020000, .revision = 1});
  std::vector<uint8_t> ones(256, 0xff);
  config.Write(0, ones);
  EXPECT_EQ(config.Read32(0), 0x56781234u);
  EXPECT_EQ(config.Read32(8), 0x02000001u);
  EXPECT_EQ(config.Read16(4), 0x0546);
  EXPECT_EQ(config.Read16(6), 0);
  EXPECT_TRUE(config.memory_enabled());
}

TEST(PciConfigSpace, ReadsZeroBehindItsEnd) {
  PciConfigSpace config(PciIdentity{.vendor = 0x1234});
  uint8_t bytes[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  config.Read(252, bytes);
  EXPECT_EQ(bytes[7], 0);
  config.Write(0xfff, bytes);
  config.Read(0x100, bytes);
  EXPECT_EQ(bytes[0], 0);
}

TEST(PciConfigSpace, LinksCapabilities) {
  PciConfigSpace config(PciIdentity{});
  const uint8_t body[3] = {1, 2, 3};
  const uint8_t mask[3] = {0, 0xff, 0};
  EXPECT_EQ(config.AddCapability(0x09, body), 0x40);
  EXPECT_EQ(config.AddCapability(0x11, body, mask), 0x48);
  EXPECT_EQ(config.Read16(0x06), 0x10);
  EXPECT_EQ(config.Read16(0x34), 0x40);
  EXPECT_EQ(config.Read16(0x40), 0x4809);
  EXPECT_EQ(config.Read16(0x48), 0x0011);
  const uint8_t ones[3] = {0xff, 0xff, 0xff};
  config.Write(0x4a, ones);
  EXPECT_EQ(config.Read32(0x48), 0xff010011u);
}

TEST(BarAllocator, AlignsNaturallyAndFillsGaps) {
  BarAllocator bars(kLow, kHigh);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x1000), 0xc0000000u);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x10000), 0xc0010000u);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x1000), 0xc0001000u);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory64, 0x10000), 0x400000000u);
}

TEST(BarAllocator, FallsBackBelow4GiBAndSaysWhenNothingIsLeft) {
  BarAllocator bars({0xc0000000, 0x3000}, {});
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory64, 0x2000), 0xc0000000u);
  EXPECT_EQ(bars.Allocate(BarKind::kMemory64, 0x2000).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x1000), 0xc0002000u);
  EXPECT_EQ(bars.Allocate(BarKind::kMemory32, 0x1000).status().code(), StatusCode::kResourceExhausted);
}

TEST(PciConfigSpace, HasIoBarsAndSmallMemoryBars) {
  PciConfigSpace config(PciIdentity{.vendor = 0x1234});
  config.AddBar(0, BarKind::kMemory32, 0x80, false);
  config.AddBar(1, BarKind::kIo, 0x40, false);
  const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
  config.Write(0x10, ones);
  config.Write(0x14, ones);
  EXPECT_EQ(config.Read32(0x10), 0xffffff80u);
  EXPECT_EQ(config.Read32(0x14), 0xffffffc1u);
  config.SetBarAddress(1, 0x1040);
  EXPECT_EQ(config.Read32(0x14), 0x1041u);
  EXPECT_EQ(config.bar(1)->address, 0x1040u);
  config.Write(0x04, ones);
  EXPECT_TRUE(config.io_enabled());
}

TEST(BarAllocator, KeepsIoBarsInTheIoWindow) {
  BarAllocator bars(kLow, kHigh, {0x1000, 0x100});
  EXPECT_EQ(*bars.Allocate(BarKind::kIo, 0x80), 0x1000u);
  EXPECT_EQ(*bars.Allocate(BarKind::kIo, 0x80), 0x1080u);
  EXPECT_EQ(bars.Allocate(BarKind::kIo, 4).status().code(), StatusCode::kResourceExhausted);
  bars.Free(0x1000, 0x80);
  EXPECT_EQ(*bars.Allocate(BarKind::kIo, 4), 0x1000u);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x1000), 0xc0000000u);
}

TEST(PciSegment, DecodesIoBarsOnThePortsBus) {
  Bus mmio, ports;
  PciSegment segment(0, mmio, {kLow, kHigh}, {&ports, {0x1000, 0xf000}});
  auto function = std::make_shared<FakePciFunction>(0x77);
  function->config().AddBar(0, BarKind::kIo, 0x20, false);
  function->config().SetBarAddress(0, 0x1020);
  ASSERT_EQ(*segment.Add(function, "card"), 1u);
  uint8_t byte = 0;
  EXPECT_FALSE(ports.Read(0x1020, {&byte, 1}));
  const uint8_t enable_io[2] = {1, 0};
  segment.Write((1 << 15) + 4, enable_io);
  EXPECT_TRUE(ports.Read(0x103f, {&byte, 1}));
  EXPECT_EQ(byte, 0x77);
  EXPECT_FALSE(mmio.Read(0x1020, {&byte, 1}));
  const uint32_t outside = 0x501;
  segment.Write((1 << 15) + 0x10, {reinterpret_cast<const uint8_t*>(&outside), 4});
  EXPECT_FALSE(ports.Read(0x1020, {&byte, 1}));
}

TEST(PciSegment, AFunctionWithADecodedIoBarLeavesThePortsBus) {
  Bus mmio, ports;
  PciSegment segment(0, mmio, {kLow, kHigh}, {&ports, {0x1000, 0xf000}});
  auto function = std::make_shared<FakePciFunction>(0x77);
  function->config().AddBar(0, BarKind::kIo, 0x20, false);
  function->config().SetBarAddress(0, 0x1020);
  function->config().AddBar(1, BarKind::kMemory32, 0x1000, false);
  function->config().SetBarAddress(1, 0xc0000000);
  ASSERT_EQ(*segment.Add(function, "card"), 1u);
  const uint8_t enable_both[2] = {3, 0};
  segment.Write((1 << 15) + 4, enable_both);
  uint8_t byte = 0;
  ASSERT_TRUE(ports.Read(0x1020, {&byte, 1}));
  ASSERT_TRUE(mmio.Read(0xc0000000, {&byte, 1}));

  EXPECT_EQ(*segment.Remove(1), function);

  EXPECT_FALSE(ports.Read(0x1020, {&byte, 1}));
  EXPECT_FALSE(mmio.Read(0xc0000000, {&byte, 1}));
}

TEST(BarAllocator, JoinsWhatIsFreed) {
  BarAllocator bars({0xc0000000, 0x4000}, {});
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x1000), 0xc0000000 + i * 0x1000);
  }
  for (uint64_t i : {0, 2, 1, 3}) bars.Free(0xc0000000 + i * 0x1000, 0x1000);
  EXPECT_EQ(*bars.Allocate(BarKind::kMemory32, 0x4000), 0xc0000000u);
}

class PciSegmentTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakePciFunction> AddFunction(uint8_t answer, uint64_t address) {
    auto function = std::make_shared<FakePciFunction>(answer);
    function->config().AddBar(0, BarKind::kMemory64, 0x10000, false);
    function->config().SetBarAddress(0, address);
    EXPECT_TRUE(segment_->Add(function, "function " + std::to_string(answer)).has_value());
    return function;
  }
  void Write(uint32_t slot, uint32_t offset, uint32_t value, size_t size = 4) {
    segment_->Write(slot << 15 | offset, {reinterpret_cast<const uint8_t*>(&value), size});
  }
  uint32_t Read(uint64_t offset) {
    uint32_t value = 0;
    segment_->Read(offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  // What answers at an address; 0xff for nothing.
  int At(uint64_t address) {
    uint8_t value = 0;
    mmio_.Read(address, {&value, 1});
    return value;
  }

  using Base = std::optional<uint64_t>;
  Bus mmio_;
  std::shared_ptr<PciSegment> segment_ =
      std::make_shared<PciSegment>(0, mmio_, std::vector<PciWindow>{kLow, kHigh});
};

TEST_F(PciSegmentTest, AnswersOnesWhereThereIsNoFunction) {
  ASSERT_EQ(*segment_->Add(MakeHostBridge(), "host bridge", 0), 0u);
  EXPECT_EQ(Read(0), 0x00081b36u);
  EXPECT_EQ(Read(8) >> 8, 0x060000u);
  EXPECT_EQ(Read(1 << 15), 0xffffffffu);
  EXPECT_EQ(Read(1 << 12), 0xffffffffu);            // function 1
  EXPECT_EQ(Read(uint64_t{1} << 20), 0xffffffffu);  // bus 1
  EXPECT_EQ(Read(0x200), 0u);                       // extended space
}

TEST_F(PciSegmentTest, KeepsSlotZeroOfSegmentZeroForTheHostBridge) {
  auto function = std::make_shared<FakePciFunction>(1);
  EXPECT_EQ(*segment_->Add(function, "a"), 1u);
  EXPECT_EQ(segment_->Add(function, "b", 1).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(segment_->Add(function, "b", 32).status().code(), StatusCode::kOutOfRange);
  for (uint32_t slot = 2; slot < 32; ++slot) EXPECT_EQ(*segment_->Add(function, "x"), slot);
  EXPECT_EQ(segment_->Add(function, "y").status().code(), StatusCode::kResourceExhausted);

  PciSegment other(1, mmio_, {});
  EXPECT_EQ(*other.Add(function, "first"), 0u);
}

TEST_F(PciSegmentTest, DecodesABarOnlyWhileMemoryDecodingIsOn) {
  auto function = AddFunction(7, 0xc0000000);
  EXPECT_EQ(At(0xc0000000), 0xff);
  Write(1, 4, 2, 2);
  EXPECT_EQ(At(0xc000ffff), 7);
  Write(1, 4, 0, 2);
  EXPECT_EQ(At(0xc0000000), 0xff);
  EXPECT_EQ(function->moves,
            (std::vector<std::pair<uint32_t, Base>>{{0, Base(0xc0000000)}, {0, std::nullopt}}));
}

TEST_F(PciSegmentTest, FollowsABarThatMovesWhileDecoded) {
  auto function = AddFunction(7, 0xc0000000);
  Write(1, 4, 2, 2);
  Write(1, 0x10, 0xc0100000);
  EXPECT_EQ(At(0xc0000000), 0xff);
  EXPECT_EQ(At(0xc0100000), 7);
  EXPECT_EQ(function->moves.back(), (std::pair<uint32_t, Base>{0, Base(0xc0100000)}));
}

TEST_F(PciSegmentTest, SurvivesSizingWithDecodingOn) {
  AddFunction(7, 0xc0000000);
  Write(1, 4, 2, 2);
  Write(1, 0x10, 0xffffffff);
  EXPECT_EQ(Read(1 << 15 | 0x10), 0xffff0004u);
  EXPECT_EQ(At(0xffff0000), 0xff);  // outside the windows
  Write(1, 0x10, 0xc0000000);
  EXPECT_EQ(At(0xc0000000), 7);
}

TEST_F(PciSegmentTest, DoesNotDecodeOutsideItsWindows) {
  AddFunction(7, 0xc0000000);
  Write(1, 4, 2, 2);
  for (uint32_t address : {0x00100000u, 0xfec00000u, 0xe7ff8000u + 0x8000u, 0xbfff0000u}) {
    Write(1, 0x10, address);
    EXPECT_EQ(At(address), 0xff) << std::hex << address;
  }
  Write(1, 0x10, 0xe7ff0000);
  EXPECT_EQ(At(0xe7ff0000), 7);
}

TEST_F(PciSegmentTest, LeavesACollidingBarUndecodedUntilThePlaceIsFree) {
  AddFunction(1, 0xc0000000);
  AddFunction(2, 0xc0010000);
  Write(1, 4, 2, 2);
  Write(2, 4, 2, 2);

  Write(1, 0x10, 0xc0010000);  // onto the second
  EXPECT_EQ(At(0xc0010000), 2);
  EXPECT_EQ(At(0xc0000000), 0xff);
  Write(2, 0x10, 0xc0000000);  // the two have changed places
  EXPECT_EQ(At(0xc0010000), 1);
  EXPECT_EQ(At(0xc0000000), 2);
}

TEST_F(PciSegmentTest, NeverDecodesOverAnotherDeviceOfTheBus) {
  ASSERT_TRUE(mmio_.Insert(0xc0005000, 0x1000, std::make_shared<FakeDevice>(9), "fixed").ok());
  AddFunction(1, 0xc0000000);
  Write(1, 4, 2, 2);
  EXPECT_EQ(At(0xc0005000), 9);
  EXPECT_EQ(At(0xc0000000), 0xff);
}

TEST_F(PciSegmentTest, MovesA64BitBarThroughItsTwoHalves) {
  AddFunction(1, 0x400000000);
  Write(1, 4, 2, 2);
  Write(1, 0x10, 0x00020000);
  Write(1, 0x14, 0x4);
  EXPECT_EQ(At(0x400020000), 1);
  Write(1, 0x14, 0xffffffff);
  EXPECT_EQ(At(0x400020000), 0xff);
}

TEST_F(PciSegmentTest, IsReachedThroughMechanismOne) {
  AddFunction(1, 0xc0000000);
  PciConfigPorts ports(segment_);
  auto out = [&](uint64_t offset, uint32_t value, size_t size) {
    ports.Write(offset, {reinterpret_cast<const uint8_t*>(&value), size});
  };
  auto in = [&](uint64_t offset, size_t size) {
    uint32_t value = 0;
    ports.Read(offset, {reinterpret_cast<uint8_t*>(&value), size});
    return value;
  };
  EXPECT_EQ(in(4, 4), 0xffffffffu);  // disabled
  out(0, 0x80000800, 4);
  EXPECT_EQ(in(0, 4), 0x80000800u);
  EXPECT_EQ(in(4, 4), 0x10001af4u);
  EXPECT_EQ(in(6, 2), 0x1000u);
  EXPECT_EQ(in(5, 1), 0x1au);
  out(0, 0x12, 1);  // not a whole register
  EXPECT_EQ(in(0, 4), 0x80000800u);
  out(0, 0x80000804, 4);
  out(4, 2, 2);
  EXPECT_EQ(At(0xc0000000), 1);
  out(0, 0x80010800, 4);  // bus 1
  EXPECT_EQ(in(4, 4), 0xffffffffu);
}

}  // namespace
}  // namespace berth::vmm
