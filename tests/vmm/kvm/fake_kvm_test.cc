#include "vmm/kvm/fake_kvm.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#include "vmm/kvm/linux_kvm.h"

namespace berth::vmm {
namespace {

TEST(FakeKvm, FailsTheCallThatIsAskedToFailOnce) {
  FakeKvm kvm;
  kvm.FailCall(KvmCall::kCreateVcpu, ENOMEM, 1);
  auto vm = *kvm.CreateVm();

  EXPECT_TRUE(vm->CreateVcpu(0).has_value());
  EXPECT_EQ(vm->CreateVcpu(1).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(vm->CreateVcpu(1).has_value());
}

TEST(FakeKvm, AnswersNothingOnceTheVmIsDead) {
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  auto vcpu = *vm->CreateVcpu(0);

  kvm.KillVms();

  EXPECT_FALSE(vm->EnableSplitIrqchip(24).ok());
  EXPECT_FALSE(vm->CreateVcpu(1).has_value());
  EXPECT_FALSE(vcpu->Run().has_value());
}

TEST(FakeKvm, WaitsForTheScriptToGoOn) {
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  auto vcpu = *vm->CreateVcpu(0);
  std::thread writer([&kvm] { kvm.Script(0, {ScriptedExit::Out(0x80, {7})}); });

  auto exit = vcpu->Run();

  writer.join();
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(std::get<PortExit>(*exit).data[0], 7);
}

TEST(LinuxKvm, TellsWhatToDoWhenThereIsNoDevice) {
  auto kvm = OpenLinuxKvm("/nonexistent/kvm");

  EXPECT_EQ(kvm.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(kvm.status().message(), "open /nonexistent/kvm: No such file or directory");
  EXPECT_EQ(kvm.status().hint(), "load kvm_intel or kvm_amd; virtualisation must be enabled in the firmware");
}

TEST(LinuxKvm, RefusesADeviceThatIsNotKvm) {
  auto kvm = OpenLinuxKvm("/dev/null");

  EXPECT_EQ(kvm.status().message(), "/dev/null is not a KVM device");
}

}  // namespace
}  // namespace berth::vmm
