#pragma once

#include <cstdint>

#include "vmm/kvm/kvm.h"

namespace berth::vmm {

struct FakeVm;

// What firmware and processor add to KVM for confidential VMs of one type, in a FakeKvm: enforces the order
// and the arguments of the launch commands and answers with the kernel's error numbers. Called with the
// FakeKvm's mutex held; `vm` is the state at that time.
class FakePlatform {
 public:
  virtual ~FakePlatform() = default;
  virtual VmType type() const = 0;
  // As KvmVm::LaunchCommand and KvmVcpu::LaunchCommand: 0 or an error number.
  virtual int OnVmCommand(const FakeVm& vm, unsigned long request, void* argument) = 0;
  virtual int OnVcpuCommand(const FakeVm& vm, uint32_t vcpu, unsigned long request, void* argument) = 0;
  // Before the call is carried out: 0, or the error number that it fails with.
  virtual int OnCreateVcpu(const FakeVm& vm, uint32_t vcpu) = 0;
  // Registers of the guest are set: refused where the processor keeps them.
  virtual int OnSetState(const FakeVm& vm, uint32_t vcpu) = 0;
  virtual int OnRun(const FakeVm& vm, uint32_t vcpu) = 0;
};

}  // namespace berth::vmm
