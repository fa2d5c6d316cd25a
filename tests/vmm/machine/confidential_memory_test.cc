// Memory that comes and goes in a confidential guest: a page is shared, private or unplugged.
#include <gtest/gtest.h>

#include <set>

#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/confidential_guest.h"
#include "vmm/machine/ram_map.h"
#include "vmm/memory/zoned_memory.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A launch whose guest's memory begins on a side of the test's choice.
class SomeLaunch final : public Launch {
 public:
  explicit SomeLaunch(bool starts_private) : private_(starts_private) {}
  VmType vm_type() const override { return VmType::kSwProtected; }
  bool starts_private() const override { return private_; }
  bool owns_registers() const override { return false; }
  Status InitVm(KvmVm&, std::span<const kvm_cpuid_entry2>) override { return OkStatus(); }
  Status InitVcpu(KvmVcpu&, uint32_t) override { return OkStatus(); }
  Status Load(KvmVm&, KvmVcpu&, const LaunchContent&) override { return OkStatus(); }
  Status Finish(KvmVm&) override { return OkStatus(); }

 private:
  const bool private_;
};

// A device: what it can reach, by address.
class Device final : public SharedMemoryListener {
 public:
  Status OnShared(std::span<const StateRun> runs) override {
    if (refuses) return ResourceExhausted("no entries left");
    for (const StateRun& run : runs) {
      for (uint64_t at = 0; at < run.size; at += 4096) EXPECT_TRUE(pages.insert(run.base + at).second);
    }
    return OkStatus();
  }
  Status OnPrivate(std::span<const StateRun> runs) override {
    if (holds_on) return Internal("the device holds on to it");
    for (const StateRun& run : runs) {
      for (uint64_t at = 0; at < run.size; at += 4096) EXPECT_EQ(pages.erase(run.base + at), 1u);
    }
    return OkStatus();
  }
  bool Reaches(Gpa base, uint64_t size) const {
    for (uint64_t at = 0; at < size; at += 4096) {
      if (!pages.contains(Raw(base) + at)) return false;
    }
    return true;
  }
  std::set<uint64_t> pages;
  bool refuses = false;
  bool holds_on = false;
};

class ConfidentialMemory : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    MemoryZoneConfig zone;
    zone.id = "a";
    zone.size = MiB(4);
    zone.hotplug_size = GiB(1);
    memory_ = *ZonedMemory::Create({zone}, HotplugMethod::kVirtioMem);
    boot_.kind = ConfidentialKind::kSwProtected;
    boot_.launch = std::make_unique<SomeLaunch>(starts_private());
    Begin();
  }
  void TearDown() override {
    guest_->RemoveListener(device_);
    End();
  }
  // A board's part of it.
  void Begin() {
    vm_ = *kvm_.CreateVm(VmType::kSwProtected);
    slots_.emplace(*vm_, 8);
    guest_ = *ConfidentialGuest::Create(*vm_, memory_->memory(), boot_, {}, {0});
    ram_.emplace(memory_->memory(), *slots_, guest_.get());
    ASSERT_TRUE(ram_->MapAll().ok());
    ASSERT_TRUE(guest_->Start(*slots_).ok());
    ASSERT_TRUE(guest_->AddListener(device_).ok());
  }
  void End() {
    ram_.reset();
    guest_.reset();
    slots_.reset();
    vm_.reset();
  }
  bool starts_private() const { return GetParam(); }
  const MemoryRegion& area() { return memory_->memory().hotplug_areas()[0]; }
  uint64_t PrivateBytes() {
    uint64_t bytes = 0;
    for (const auto& [node, amount] : guest_->files().AllocatedBytes()) bytes += amount;
    return bytes;
  }
  Status Convert(uint64_t offset, uint64_t size, bool to_private) {
    // KVM_MAP_GPA_RANGE_ENCRYPTED is bit 4 (linux/kvm_para.h).
    Result<uint64_t> result =
        guest_->MapGpaRange(0, Raw(area().base) + offset, size / 4096, to_private ? 1 << 4 : 0, {});
    if (!result.has_value()) return std::move(result).error();
    return *result == 0 ? OkStatus() : InvalidArgument("refused");
  }

  FakeKvm kvm_;
  std::unique_ptr<ZonedMemory> memory_;
  ConfidentialBoot boot_;
  std::unique_ptr<KvmVm> vm_;
  std::optional<MemorySlots> slots_;
  std::unique_ptr<ConfidentialGuest> guest_;
  std::optional<RamMap> ram_;
  Device device_;
};

TEST_P(ConfidentialMemory, ComesOnTheSideOnWhichTheGuestStarted) {
  const size_t reached = device_.pages.size();
  EXPECT_EQ(kvm_.vm().slots.size(), 1u);
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), area().size)) << "what is not there is not shared";

  ASSERT_TRUE(ram_->Plug(area(), 2 * kMiB, 4 * kMiB).ok());

  ASSERT_EQ(kvm_.vm().slots.size(), 2u);
  for (const auto& [number, slot] : kvm_.vm().slots) EXPECT_GE(slot.guest_memfd, 0) << number;
  EXPECT_EQ(area().plug->plugged(), 4 * kMiB);
  EXPECT_EQ(kvm_.vm().IsShared(Raw(area().base) + 2 * kMiB, 4 * kMiB), !starts_private());
  EXPECT_EQ(kvm_.vm().IsPrivate(Raw(area().base) + 2 * kMiB, 4 * kMiB), starts_private());
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), 2 * kMiB));
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base) + 6 * kMiB, area().size - 6 * kMiB));
  EXPECT_EQ(device_.pages.size() - reached, starts_private() ? 0 : 4 * kMiB / 4096);
  const ConfidentialFacts facts = guest_->Facts();
  EXPECT_EQ(facts.private_bytes, starts_private() ? 8 * kMiB : 0);
  EXPECT_EQ(facts.shared_bytes, starts_private() ? 0 : 8 * kMiB);
  EXPECT_EQ(PrivateBytes() >= 4 * kMiB, starts_private()) << PrivateBytes();
}

TEST_P(ConfidentialMemory, GoesFromEitherSideAndTakesDevicesAlong) {
  ASSERT_TRUE(ram_->Plug(area(), 0, 8 * kMiB).ok());
  ASSERT_TRUE(Convert(0, 4 * kMiB, true).ok());
  ASSERT_TRUE(Convert(4 * kMiB, 4 * kMiB, false).ok());
  EXPECT_FALSE(device_.Reaches(area().base, 4096));
  EXPECT_TRUE(device_.Reaches(area().base + 4 * kMiB, 4 * kMiB));
  area().host[4 * kMiB] = 7;

  ASSERT_TRUE(ram_->Unplug(area(), 2 * kMiB, 4 * kMiB).ok());

  EXPECT_EQ(area().plug->plugged(), 4 * kMiB);
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), 6 * kMiB));
  EXPECT_TRUE(device_.Reaches(area().base + 6 * kMiB, 2 * kMiB));
  EXPECT_FALSE(device_.pages.contains(Raw(area().base) + 4 * kMiB));
  EXPECT_EQ(area().host[4 * kMiB], 0) << "what was shared is given back";
  EXPECT_EQ(kvm_.vm().slots.size(), 2u) << "other blocks of the chunk are there";
  EXPECT_FALSE(Convert(2 * kMiB, 4096, false).ok()) << "unplugged memory has no sides";
  EXPECT_FALSE(Convert(4 * kMiB, 4096, true).ok());

  ASSERT_TRUE(ram_->Unplug(area(), 0, 2 * kMiB).ok());
  ASSERT_TRUE(ram_->Unplug(area(), 6 * kMiB, 2 * kMiB).ok());

  EXPECT_EQ(kvm_.vm().slots.size(), 1u);
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), area().size));
  EXPECT_EQ(guest_->Facts().private_bytes + guest_->Facts().shared_bytes, 4 * kMiB);
}

TEST_P(ConfidentialMemory, ComesWholeOrNotAtAll) {
  device_.refuses = true;
  const Status status = ram_->Plug(area(), 0, 4 * kMiB);

  if (starts_private()) {
    EXPECT_TRUE(status.ok()) << "no device hears of it";
    return;
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  EXPECT_EQ(area().plug->plugged(), 0u);
  EXPECT_EQ(kvm_.vm().slots.size(), 1u);
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), area().size));
  EXPECT_EQ(guest_->Facts().shared_bytes, 4 * kMiB);
  EXPECT_EQ(PrivateBytes(), 0u);

  device_.refuses = false;
  EXPECT_TRUE(ram_->Plug(area(), 0, 4 * kMiB).ok());
}

TEST_P(ConfidentialMemory, StaysWhileADeviceHoldsOnToIt) {
  ASSERT_TRUE(ram_->Plug(area(), 0, 4 * kMiB).ok());
  ASSERT_TRUE(Convert(0, 2 * kMiB, false).ok());
  device_.holds_on = true;

  EXPECT_FALSE(ram_->Unplug(area(), 0, 4 * kMiB).ok());

  EXPECT_EQ(area().plug->plugged(), 4 * kMiB);
  EXPECT_TRUE(kvm_.vm().IsShared(Raw(area().base), 2 * kMiB));
  EXPECT_TRUE(device_.Reaches(area().base, 2 * kMiB));
  device_.holds_on = false;
  EXPECT_TRUE(ram_->Unplug(area(), 0, 4 * kMiB).ok());
}

TEST_P(ConfidentialMemory, AGuestThatStartsAgainHasNothingOfIt) {
  ASSERT_TRUE(ram_->Plug(area(), 0, 4 * kMiB).ok());
  ASSERT_TRUE(Convert(0, 4 * kMiB, false).ok());
  area().host[0] = 7;
  guest_->RemoveListener(device_);
  device_.pages.clear();
  End();

  Begin();

  EXPECT_EQ(area().plug->plugged(), 0u);
  EXPECT_EQ(area().host[0], 0);
  EXPECT_EQ(kvm_.vm().slots.size(), 1u);
  EXPECT_TRUE(kvm_.vm().IsPrivate(Raw(area().base), area().size));
  EXPECT_TRUE(ram_->Plug(area(), 0, 4 * kMiB).ok());
}

INSTANTIATE_TEST_SUITE_P(Launches, ConfidentialMemory, testing::Bool(),
                         [](const auto& side) { return side.param ? "Private" : "Shared"; });

}  // namespace
}  // namespace berth::vmm
