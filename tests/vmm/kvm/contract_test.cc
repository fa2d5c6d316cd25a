// What LinuxKvm and FakeKvm must both do. The real one is skipped where /dev/kvm cannot be used.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/kvm/linux_kvm.h"

namespace berth::vmm {
namespace {

enum class Kind { kLinux, kFake };

class KvmContract : public testing::TestWithParam<Kind> {
 protected:
  static constexpr uint64_t kSize = 64 << 10;

  void SetUp() override {
    if (GetParam() == Kind::kFake) {
      kvm_ = std::make_unique<FakeKvm>();
    } else {
      auto opened = OpenLinuxKvm();
      if (!opened.has_value()) GTEST_SKIP() << opened.error().ToString();
      kvm_ = *std::move(opened);
    }
    auto probed = kvm_->Probe();
    if (!probed.has_value()) GTEST_SKIP() << probed.error().ToString();
    capabilities_ = *probed;
    ram_ = static_cast<uint8_t*>(
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(ram_, MAP_FAILED);
    auto vm = kvm_->CreateVm();
    ASSERT_TRUE(vm.has_value()) << vm.error().ToString();
    vm_ = *std::move(vm);
  }
  void TearDown() override {
    vm_.reset();
    if (ram_ != nullptr) ::munmap(ram_, kSize);
  }

  MemorySlot Slot(uint32_t slot, uint64_t gpa, uint64_t size = kSize) {
    return {.slot = slot, .gpa = Gpa{gpa}, .size = size, .host = ram_};
  }

  std::unique_ptr<Kvm> kvm_;
  KvmCapabilities capabilities_;
  uint8_t* ram_ = nullptr;
  std::unique_ptr<KvmVm> vm_;
  UniqueFd event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

TEST_P(KvmContract, RefusesMemoryThatOverlaps) {
  ASSERT_TRUE(vm_->SetMemorySlot(Slot(0, 0)).ok());

  EXPECT_EQ(vm_->SetMemorySlot(Slot(1, kSize - 4096)).code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(vm_->SetMemorySlot(Slot(1, kSize)).ok());
}

TEST_P(KvmContract, RefusesMemoryThatIsNotPageAligned) {
  EXPECT_EQ(vm_->SetMemorySlot(Slot(0, 100)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(vm_->SetMemorySlot(Slot(0, 0, 5000)).code(), StatusCode::kInvalidArgument);
  MemorySlot odd = Slot(0, 0, 4096);
  odd.host += 8;
  EXPECT_EQ(vm_->SetMemorySlot(odd).code(), StatusCode::kInvalidArgument);
}

TEST_P(KvmContract, RefusesSlotNumbersBeyondTheLimit) {
  EXPECT_EQ(vm_->SetMemorySlot(Slot(capabilities_.max_memory_slots, 0)).code(), StatusCode::kInvalidArgument);
}

TEST_P(KvmContract, MovesAndRemovesASlotButDoesNotResizeIt) {
  ASSERT_TRUE(vm_->SetMemorySlot(Slot(0, 0)).ok());

  EXPECT_EQ(vm_->SetMemorySlot(Slot(0, 0, 4096)).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(vm_->SetMemorySlot(Slot(0, 1 << 20)).ok());
  EXPECT_TRUE(vm_->SetMemorySlot(Slot(0, 0, 0)).ok());
  EXPECT_TRUE(vm_->SetMemorySlot(Slot(1, 1 << 20)).ok());
}

TEST_P(KvmContract, RefusesTheSameVcpuTwice) {
  auto first = vm_->CreateVcpu(3);
  ASSERT_TRUE(first.has_value()) << first.error().ToString();

  EXPECT_EQ(vm_->CreateVcpu(3).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(vm_->CreateVcpu(0).has_value());
  EXPECT_EQ(vm_->CreateVcpu(1 << 20).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(KvmContract, RefusesASplitIrqchipOnceThereAreVcpus) {
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());

  EXPECT_EQ(vm_->EnableSplitIrqchip(24).code(), StatusCode::kAlreadyExists);
}

TEST_P(KvmContract, RefusesASecondSplitIrqchip) {
  ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok());

  EXPECT_EQ(vm_->EnableSplitIrqchip(24).code(), StatusCode::kAlreadyExists);
}

TEST_P(KvmContract, HasNoRoutesWithoutAnIrqchip) {
  std::vector<GsiRoute> routes = {{24, {0xfee00000, 0x41}}};
  EXPECT_EQ(vm_->SetRoutes(routes).code(), StatusCode::kInvalidArgument);
}

TEST_P(KvmContract, LimitsTheRoutingTable) {
  ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok());
  std::vector<GsiRoute> routes;
  for (uint32_t gsi = 0; gsi < kMaxGsiRoutes; gsi++) routes.push_back({gsi, {0xfee00000, 0x41}});

  EXPECT_TRUE(vm_->SetRoutes(routes).ok());
  routes.push_back({kMaxGsiRoutes, {0xfee00000, 0x41}});
  EXPECT_EQ(vm_->SetRoutes(routes).code(), StatusCode::kInvalidArgument);
  routes = {{kMaxGsiRoutes, {0xfee00000, 0x41}}};
  EXPECT_EQ(vm_->SetRoutes(routes).code(), StatusCode::kInvalidArgument);
  routes = {{5, {0xfee00000, 0x41}}, {5, {0xfee00000, 0x42}}};
  EXPECT_EQ(vm_->SetRoutes(routes).code(), StatusCode::kInvalidArgument);
}

TEST_P(KvmContract, AssignsAnEventToOneInterruptOnly) {
  ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok());
  std::vector<GsiRoute> routes = {{24, {0xfee00000, 0x41}}};
  ASSERT_TRUE(vm_->SetRoutes(routes).ok());
  ASSERT_TRUE(vm_->AssignIrqfd(event_.get(), 24).ok());

  EXPECT_EQ(vm_->AssignIrqfd(event_.get(), 25).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(vm_->DeassignIrqfd(event_.get(), 24).ok());
  EXPECT_TRUE(vm_->AssignIrqfd(event_.get(), 25).ok());
}

TEST_P(KvmContract, RefusesAnIrqfdThatIsNoEventfd) {
  ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok());

  EXPECT_EQ(vm_->AssignIrqfd(STDERR_FILENO, 24).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(vm_->AssignIrqfd(-1, 24).ok());
}

TEST_P(KvmContract, RefusesIoEventsThatCollide) {
  UniqueFd other(::eventfd(0, EFD_CLOEXEC));
  ASSERT_TRUE(vm_->AssignIoEvent(0xd0000000, 0, event_.get()).ok());

  EXPECT_EQ(vm_->AssignIoEvent(0xd0000000, 0, other.get()).code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(vm_->AssignIoEvent(0xd0000004, 0, other.get()).ok());
  EXPECT_EQ(vm_->AssignIoEvent(0xd0000008, 3, other.get()).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(vm_->DeassignIoEvent(0xd0000000, 0, event_.get()).ok());
  EXPECT_EQ(vm_->DeassignIoEvent(0xd0000000, 0, event_.get()).code(), StatusCode::kNotFound);
}

TEST_P(KvmContract, ComesBackAtOnceWithAnImmediateExit) {
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  (*vcpu)->SetImmediateExit(true);

  auto exit = (*vcpu)->Run();

  ASSERT_TRUE(exit.has_value()) << exit.error().ToString();
  EXPECT_TRUE(std::holds_alternative<InterruptedExit>(*exit));
}

TEST_P(KvmContract, KeepsTheRegistersThatWereSet) {
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  auto state = (*vcpu)->GetState();
  ASSERT_TRUE(state.has_value());
  state->regs.rax = 0x1234;
  state->regs.rip = 0x5678;
  state->regs.rflags = 2;

  ASSERT_TRUE((*vcpu)->SetState(*state).ok());

  EXPECT_EQ((*vcpu)->GetState()->regs.rax, 0x1234u);
  EXPECT_EQ((*vcpu)->GetState()->regs.rip, 0x5678u);
}

TEST_P(KvmContract, HasALocalApicOnlyWithAnIrqchip) {
  auto without = vm_->CreateVcpu(0);
  ASSERT_TRUE(without.has_value());
  EXPECT_EQ((*without)->GetLapic().status().code(), StatusCode::kInvalidArgument);

  auto second = kvm_->CreateVm();
  ASSERT_TRUE(second.has_value());
  ASSERT_TRUE((*second)->EnableSplitIrqchip(24).ok());
  auto with = (*second)->CreateVcpu(0);
  ASSERT_TRUE(with.has_value());
  EXPECT_TRUE((*with)->GetLapic().has_value());
}

// Private memory, where this host's KVM has it (CONFIG_KVM_SW_PROTECTED_VM).
class PrivateContract : public KvmContract {
 protected:
  void SetUp() override {
    KvmContract::SetUp();
    if (IsSkipped()) return;
    if ((capabilities_.vm_types & 2) == 0) GTEST_SKIP() << "KVM has no software-protected VMs";
    auto vm = kvm_->CreateVm(VmType::kSwProtected);
    ASSERT_TRUE(vm.has_value()) << vm.error().ToString();
    vm_ = *std::move(vm);
    auto file = vm_->CreateGuestMemfd(kSize);
    ASSERT_TRUE(file.has_value()) << file.error().ToString();
    private_ = *std::move(file);
  }
  MemorySlot PrivateSlot(uint32_t slot, uint64_t gpa, uint64_t offset = 0, uint64_t size = kSize) {
    return {.slot = slot,
            .gpa = Gpa{gpa},
            .size = size,
            .host = ram_,
            .guest_memfd = private_.get(),
            .guest_memfd_offset = offset};
  }

  UniqueFd private_;
};

TEST_P(PrivateContract, BindsPrivateMemoryOnceOnly) {
  ASSERT_TRUE(vm_->SetMemorySlot(PrivateSlot(0, 0)).ok());

  // Linux 6.12 says EINVAL, later releases EEXIST.
  const StatusCode code = vm_->SetMemorySlot(PrivateSlot(1, 1 << 20)).code();
  EXPECT_TRUE(code == StatusCode::kInvalidArgument || code == StatusCode::kAlreadyExists)
      << StatusCodeName(code);
  EXPECT_TRUE(vm_->SetMemorySlot(PrivateSlot(0, 0, 0, 0)).ok());
  EXPECT_TRUE(vm_->SetMemorySlot(PrivateSlot(1, 1 << 20)).ok());
}

TEST_P(PrivateContract, RefusesPrivateMemoryBeyondItsFileOrFromAnotherFile) {
  EXPECT_EQ(vm_->SetMemorySlot(PrivateSlot(0, 0, 4096)).code(), StatusCode::kInvalidArgument);
  MemorySlot other = PrivateSlot(0, 0);
  other.guest_memfd = event_.get();
  EXPECT_FALSE(vm_->SetMemorySlot(other).ok());
  EXPECT_FALSE(vm_->CreateGuestMemfd(100).has_value());
}

TEST_P(PrivateContract, RefusesToMoveASlotWithPrivateMemory) {
  ASSERT_TRUE(vm_->SetMemorySlot(PrivateSlot(0, 0)).ok());

  EXPECT_EQ(vm_->SetMemorySlot(PrivateSlot(0, 1 << 20)).code(), StatusCode::kInvalidArgument);
}

TEST_P(PrivateContract, SetsPrivacyOfWholePagesOnly) {
  EXPECT_TRUE(vm_->SetPrivate(Gpa{0}, 8192, true).ok());
  EXPECT_TRUE(vm_->SetPrivate(Gpa{4096}, 4096, false).ok());
  EXPECT_EQ(vm_->SetPrivate(Gpa{100}, 4096, true).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(vm_->SetPrivate(Gpa{0}, 0, true).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(vm_->SetPrivate(Gpa{UINT64_MAX - 4095}, 8192, true).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(vm_->EnableMapGpaExits().ok());
}

TEST_P(PrivateContract, HasNoLaunchCommands) {
  uint64_t words[3] = {};
  EXPECT_NE(vm_->LaunchCommand(KVM_MEMORY_ENCRYPT_OP, words), 0);
}

TEST_P(KvmContract, RefusesPrivateMemoryOfAnOrdinaryVm) {
  EXPECT_FALSE(vm_->SetPrivate(Gpa{0}, 4096, true).ok());
}

TEST_P(KvmContract, RefusesATypeOfVmThatItDoesNotKnow) {
  EXPECT_EQ(kvm_->CreateVm(VmType{63}).status().code(), StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Both, PrivateContract, testing::Values(Kind::kLinux, Kind::kFake),
                         [](const testing::TestParamInfo<Kind>& kind) {
                           return kind.param == Kind::kLinux ? "Linux" : "Fake";
                         });

INSTANTIATE_TEST_SUITE_P(Both, KvmContract, testing::Values(Kind::kLinux, Kind::kFake),
                         [](const testing::TestParamInfo<Kind>& kind) {
                           return kind.param == Kind::kLinux ? "Linux" : "Fake";
                         });

}  // namespace
}  // namespace berth::vmm
