#include "vmm/kvm/memory_slots.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

uint8_t* Host(uint64_t address) {
  return reinterpret_cast<uint8_t*>(address);
}

TEST(MemorySlots, HandsOutTheLowestFreeNumber) {
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  MemorySlots slots(*vm, 3);

  EXPECT_EQ(*slots.Add(Gpa{0}, 0x1000, Host(0x10000), false), 0u);
  EXPECT_EQ(*slots.Add(Gpa{0x1000}, 0x1000, Host(0x20000), false), 1u);
  EXPECT_EQ(*slots.Add(Gpa{0x2000}, 0x1000, Host(0x30000), true), 2u);
  EXPECT_EQ(slots.Add(Gpa{0x3000}, 0x1000, Host(0x40000), false).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(slots.Remove(1).ok());
  EXPECT_EQ(slots.Remove(1).code(), StatusCode::kNotFound);
  EXPECT_EQ(*slots.Add(Gpa{0x9000}, 0x1000, Host(0x20000), false), 1u);

  EXPECT_EQ(Raw(kvm.vm().slots.at(1).gpa), 0x9000u);
  EXPECT_TRUE(kvm.vm().slots.at(2).readonly);
}

TEST(MemorySlots, KeepsNoNumberThatTheKernelRefused) {
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  MemorySlots slots(*vm, 8);
  kvm.FailCall(KvmCall::kSetMemorySlot, ENOMEM);

  EXPECT_FALSE(slots.Add(Gpa{0}, 0x1000, Host(0x10000), false).has_value());
  EXPECT_EQ(*slots.Add(Gpa{0}, 0x1000, Host(0x10000), false), 0u);
  kvm.FailCall(KvmCall::kSetMemorySlot, ENOMEM);
  EXPECT_FALSE(slots.Remove(0).ok());
  EXPECT_TRUE(slots.Remove(0).ok());
}

}  // namespace
}  // namespace berth::vmm
