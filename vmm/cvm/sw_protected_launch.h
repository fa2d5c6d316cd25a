#pragma once

#include "vmm/cvm/launch.h"

namespace berth::vmm {

// KVM_X86_SW_PROTECTED_VM: private memory by guest_memfd and attributes, without encryption and without
// measurement. For development and tests: it protects a guest from a faulty VMM, not from the host's kernel.
// The guest starts with all of its memory shared, as KVM cannot emulate instructions that lie in private
// memory, and its page tables must be shared.
class SwProtectedLaunch final : public Launch {
 public:
  VmType vm_type() const override { return VmType::kSwProtected; }
  bool starts_private() const override { return false; }
  bool owns_registers() const override { return false; }
  Status InitVm(KvmVm&, std::span<const kvm_cpuid_entry2>) override { return OkStatus(); }
  Status InitVcpu(KvmVcpu&, uint32_t) override { return OkStatus(); }
  Status Load(KvmVm&, KvmVcpu&, const LaunchContent&) override { return OkStatus(); }
  Status Finish(KvmVm&) override { return OkStatus(); }
};

}  // namespace berth::vmm
