// Machine code on the real /dev/kvm: port I/O, MMIO, halt. FakeKvm plays the same exits from a script.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <vector>

#include "vmm/kvm/fake_kvm.h"
#include "vmm/kvm/linux_kvm.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kRamSize = 64 << 10;
constexpr uint64_t kStart = 0x1000;

// mov dx, 0x3f8; mov al, 'B'; out dx, al; in al, dx; mov [0x8000], al;
// mov bx, 0x2000; mov ds, bx; mov [0], al; mov cl, [1]; mov dx, 0x80; mov al, cl; out dx, al; hlt
// With DS = 0x2000 the address is 0x20000, where there is no RAM.
constexpr uint8_t kPayload[] = {0xba, 0xf8, 0x03, 0xb0, 'B',  0xee, 0xec, 0xa2, 0x00, 0x80,
                                0xbb, 0x00, 0x20, 0x8e, 0xdb, 0xa2, 0x00, 0x00, 0x8a, 0x0e,
                                0x01, 0x00, 0xba, 0x80, 0x00, 0x88, 0xc8, 0xee, 0xf4};

class FlatPayload : public testing::Test {
 protected:
  ~FlatPayload() override {
    if (ram_ != nullptr) ::munmap(ram_, kRamSize);
  }

  void Load(Kvm& kvm) {
    auto vm = kvm.CreateVm();
    ASSERT_TRUE(vm.has_value()) << vm.error().ToString();
    vm_ = *std::move(vm);
    ram_ = static_cast<uint8_t*>(
        ::mmap(nullptr, kRamSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::memcpy(ram_ + kStart, kPayload, sizeof kPayload);
    ASSERT_TRUE(vm_->SetMemorySlot({0, Gpa{0}, kRamSize, ram_, false}).ok());
    auto vcpu = vm_->CreateVcpu(0);
    ASSERT_TRUE(vcpu.has_value()) << vcpu.error().ToString();
    vcpu_ = *std::move(vcpu);
    auto state = vcpu_->GetState();
    ASSERT_TRUE(state.has_value());
    state->sregs.cs.base = 0;
    state->sregs.cs.selector = 0;
    state->regs = {};
    state->regs.rip = kStart;
    state->regs.rflags = 2;
    ASSERT_TRUE(vcpu_->SetState(*state).ok());
  }

  VcpuExit Next() {
    auto exit = vcpu_->Run();
    EXPECT_TRUE(exit.has_value()) << exit.status().ToString();
    return exit.has_value() ? *exit : VcpuExit(OtherExit{});
  }

  void ExpectAllExits() {
    auto out = std::get<PortExit>(Next());
    EXPECT_TRUE(out.write);
    EXPECT_EQ(out.port, 0x3f8);
    EXPECT_EQ(out.size, 1);
    EXPECT_EQ(out.data[0], 'B');

    auto in = std::get<PortExit>(Next());
    EXPECT_FALSE(in.write);
    in.data[0] = 'x';

    auto store = std::get<MmioExit>(Next());
    EXPECT_TRUE(store.write);
    EXPECT_EQ(store.address, 0x20000u);
    ASSERT_EQ(store.data.size(), 1u);
    EXPECT_EQ(store.data[0], 'x');

    auto load = std::get<MmioExit>(Next());
    EXPECT_FALSE(load.write);
    EXPECT_EQ(load.address, 0x20001u);
    load.data[0] = 'y';

    auto last = std::get<PortExit>(Next());
    EXPECT_EQ(last.port, 0x80);
    EXPECT_EQ(last.data[0], 'y');
    EXPECT_TRUE(std::holds_alternative<HaltExit>(Next()));
  }

  uint8_t* ram_ = nullptr;
  std::unique_ptr<KvmVm> vm_;
  std::unique_ptr<KvmVcpu> vcpu_;
};

TEST_F(FlatPayload, ExitsForPortsAndMmioOnLinux) {
  auto kvm = OpenLinuxKvm();
  if (!kvm.has_value()) GTEST_SKIP() << kvm.error().ToString();
  ASSERT_NO_FATAL_FAILURE(Load(**kvm));

  ExpectAllExits();

  EXPECT_EQ(ram_[0x8000], 'x');
}

TEST_F(FlatPayload, ExitsForPortsAndMmioFromAScript) {
  FakeKvm kvm;
  kvm.Script(0, {ScriptedExit::Out(0x3f8, {'B'}),
                 ScriptedExit::In(0x3f8, 1),
                 ScriptedExit::MmioWrite(0x20000, {'x'}),
                 ScriptedExit::MmioRead(0x20001, 1),
                 ScriptedExit::Out(0x80, {'y'}),
                 {HaltExit{}, {}}});
  ASSERT_NO_FATAL_FAILURE(Load(kvm));

  ExpectAllExits();

  std::vector<std::vector<uint8_t>> completed = {{'B'}, {'x'}, {'x'}, {'y'}, {'y'}};
  EXPECT_EQ(kvm.vm().vcpus.at(0).completed, completed);
}

}  // namespace
}  // namespace berth::vmm
