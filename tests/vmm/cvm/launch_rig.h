#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <vector>

#include "vmm/cvm/launch.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {

// What a board does around a launch, on a FakeKvm: a VM with private memory, its vCPUs, and the launch's
// calls in their order.
class LaunchRig : public testing::Test {
 protected:
  static constexpr uint64_t kRam = uint64_t{32} << 20;

  void SetUp() override {
    kvm_cpuid_entry2 one{};
    one.function = 1;
    one.eax = 0x800f12;
    one.ecx = 1 << 21;  // x2APIC
    kvm_cpuid_entry2 states{};
    states.function = 0xd;
    states.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    states.eax = 7;
    cpuid_ = {one, states};
  }
  void TearDown() override {
    for (auto& [host, size] : mappings_) ::munmap(host, size);
  }

  Status MapPrivate(uint32_t slot, uint64_t gpa, uint64_t size) {
    void* host =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mappings_.emplace_back(host, size);
    TRY_ASSIGN(UniqueFd file, vm_->CreateGuestMemfd(size));
    MemorySlot wanted;
    wanted.slot = slot;
    wanted.gpa = Gpa{gpa};
    wanted.size = size;
    wanted.host = static_cast<uint8_t*>(host);
    wanted.guest_memfd = file.get();
    files_.push_back(std::move(file));
    TRY(vm_->SetMemorySlot(wanted));
    return vm_->SetPrivate(Gpa{gpa}, size, true);
  }

  // Up to and with Finish; the first error ends it.
  Status Launch(vmm::Launch& launch, const LaunchContent& more = {}, uint32_t vcpus = 2) {
    TRY_ASSIGN(vm_, kvm_.CreateVm(launch.vm_type()));
    TRY(vm_->EnableSplitIrqchip(24));
    if (private_memory_) {
      uint32_t slot = 0;
      TRY(MapPrivate(slot++, 0, kRam));
      for (const LaunchRange& range : launch.extra_memory()) TRY(MapPrivate(slot++, range.base, range.size));
    }
    TRY(launch.InitVm(*vm_, cpuid_));
    for (uint32_t id = 0; id < vcpus; ++id) {
      TRY_ASSIGN(auto vcpu, vm_->CreateVcpu(id));
      vcpus_.push_back(std::move(vcpu));
      TRY(vcpus_.back()->SetCpuid(cpuid_));
      TRY(launch.InitVcpu(*vcpus_.back(), id));
      if (id > 0) continue;
      LaunchContent content = more;
      content.ram = {{0, kRam}};
      TRY(launch.Load(*vm_, *vcpus_.back(), content));
    }
    return launch.Finish(*vm_);
  }

  FakeKvm kvm_;
  bool private_memory_ = true;
  std::vector<kvm_cpuid_entry2> cpuid_;
  std::vector<std::pair<void*, uint64_t>> mappings_;
  std::vector<UniqueFd> files_;
  std::unique_ptr<KvmVm> vm_;
  std::vector<std::unique_ptr<KvmVcpu>> vcpus_;
};

}  // namespace berth::vmm
