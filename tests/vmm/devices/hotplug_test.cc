#include <gtest/gtest.h>

#include <cstring>

#include "vmm/devices/cpu_hotplug.h"
#include "vmm/devices/memory_hotplug.h"
#include "vmm/devices/pci_hotplug.h"

namespace berth::vmm {
namespace {

template <class T>
T Get(BusDevice& device, uint64_t offset) {
  T value = 0;
  device.Read(offset, {reinterpret_cast<uint8_t*>(&value), sizeof value});
  return value;
}

template <class T>
void Put(BusDevice& device, uint64_t offset, T value) {
  device.Write(offset, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
}

// What the AML does: select, look, acknowledge.
TEST(CpuHotplug, TellsWhatCameAndWhatIsToGo) {
  std::vector<uint32_t> ejected;
  CpuHotplug hotplug(4, 2, [&](uint32_t vcpu) { ejected.push_back(vcpu); });
  Put<uint32_t>(hotplug, 0, 1);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 1);
  Put<uint32_t>(hotplug, 0, 3);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 0);

  hotplug.Insert(3);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 3);
  Put<uint8_t>(hotplug, 4, 2);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 1);

  hotplug.RequestRemoval(3);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 5);
  Put<uint8_t>(hotplug, 4, 4);
  Put<uint8_t>(hotplug, 4, 8);
  EXPECT_EQ(Get<uint8_t>(hotplug, 4), 0);
  EXPECT_EQ(ejected, (std::vector<uint32_t>{3}));
  EXPECT_FALSE(hotplug.enabled(3));
}

TEST(CpuHotplug, KeepsTheBootProcessorAndIgnoresWhatDoesNotExist) {
  int ejected = 0;
  CpuHotplug hotplug(2, 1, [&](uint32_t) { ++ejected; });
  for (uint32_t vcpu : {0u, 1u, 2u, 0xffffffffu}) {
    Put<uint32_t>(hotplug, 0, vcpu);
    Put<uint8_t>(hotplug, 4, 8);
    Get<uint64_t>(hotplug, 4);
  }
  EXPECT_EQ(ejected, 0);
  EXPECT_TRUE(hotplug.enabled(0));
}

TEST(MemoryHotplug, TellsWhereThePiecesLie) {
  MemoryHotplug hotplug(2, {{0x100000000, 0x8000000}});
  EXPECT_EQ(hotplug.free_slots(), 1u);
  ASSERT_TRUE(hotplug.Insert({0x108000000, 0x10000000}).ok());

  Put<uint32_t>(hotplug, 24, 0);
  EXPECT_EQ(Get<uint8_t>(hotplug, 28), 1) << "was there at boot";
  Put<uint32_t>(hotplug, 24, 1);
  EXPECT_EQ(Get<uint8_t>(hotplug, 28), 3);
  EXPECT_EQ(Get<uint64_t>(hotplug, 0), 0x108000000u);
  EXPECT_EQ(Get<uint32_t>(hotplug, 4), 1u) << "upper half";
  EXPECT_EQ(Get<uint64_t>(hotplug, 8), 0x10000000u);
  EXPECT_EQ(Get<uint64_t>(hotplug, 16), 0x117ffffffu);
  Put<uint8_t>(hotplug, 28, 2);
  EXPECT_EQ(Get<uint8_t>(hotplug, 28), 1);

  EXPECT_EQ(hotplug.Insert({0x200000000, 0x8000000}).code(), StatusCode::kResourceExhausted);
  Put<uint32_t>(hotplug, 24, 2);
  EXPECT_EQ(Get<uint8_t>(hotplug, 28), 0);
  EXPECT_EQ(Get<uint64_t>(hotplug, 0), 0u);
}

TEST(PciHotplug, EachSegmentHasItsSlots) {
  std::vector<std::pair<uint32_t, uint32_t>> ejected;
  PciHotplug hotplug(2, [&](uint32_t segment, uint32_t slot) { ejected.emplace_back(segment, slot); });
  hotplug.Insert(0, 3);
  hotplug.Insert(1, 31);
  hotplug.RequestRemoval(1, 4);

  EXPECT_EQ(Get<uint32_t>(hotplug, 0), 1u << 3);
  EXPECT_EQ(Get<uint32_t>(hotplug, 0), 0u) << "told once";
  Put<uint32_t>(hotplug, 12, 1);
  EXPECT_EQ(Get<uint32_t>(hotplug, 0), 1u << 31);
  EXPECT_EQ(Get<uint32_t>(hotplug, 4), 1u << 4);
  Put<uint32_t>(hotplug, 8, 1u << 4);
  EXPECT_EQ(ejected, (std::vector<std::pair<uint32_t, uint32_t>>{{1, 4}}));

  Put<uint32_t>(hotplug, 12, 7);
  EXPECT_EQ(Get<uint32_t>(hotplug, 0), 0u);
  Put<uint32_t>(hotplug, 8, 0xffffffff);
  EXPECT_EQ(ejected.size(), 1u);
}

}  // namespace
}  // namespace berth::vmm
