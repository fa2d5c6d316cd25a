#pragma once

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "vmm/kvm/confidential_abi.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/kvm/fake_platform.h"

namespace berth::vmm {

// KVM's TDX commands by the rules of Linux 6.16's arch/x86/kvm/vmx/tdx.c: order, arguments, error numbers.
class FakeTdx final : public FakePlatform {
 public:
  struct Failure {
    int error = 0;
    uint64_t hw_error = 0;
    uint32_t after_pages = 0;  // of INIT_MEM_REGION: that many are added first
  };
  // The next command with this id fails so.
  void FailNext(uint32_t id, Failure failure) { failures_[id].push_back(failure); }

  uint64_t supported_attributes = uint64_t{1} << 28;
  uint64_t supported_xfam = 0x6e7;
  std::vector<kvm_cpuid_entry2> configurable;

  // What the guest was made of.
  bool initialised = false, final = false;
  uint64_t attributes = 0, xfam = 0;
  std::array<uint64_t, 6> mr_config_id{};
  std::vector<kvm_cpuid_entry2> cpuid;
  std::map<uint32_t, uint64_t> vcpu_rcx;
  std::map<uint64_t, std::vector<uint8_t>> pages;  // by address
  std::set<uint64_t> measured;

  VmType type() const override { return VmType::kTdx; }

  int OnVmCommand(const FakeVm& vm, unsigned long request, void* argument) override {
    if (request != abi::kMemoryEncryptOp) return ENOTTY;
    auto& command = *static_cast<abi::TdxCommand*>(argument);
    if (command.hw_error != 0) return EINVAL;
    if (auto failure = Take(command.id)) {
      command.hw_error = failure->hw_error;
      return failure->error;
    }
    switch (command.id) {
      case abi::kTdxCapabilities:
        return Capabilities(command);
      case abi::kTdxInitVm:
        return InitVm(vm, command);
      case abi::kTdxFinalizeVm:
        if (!initialised || final || command.flags != 0) return EINVAL;
        final = true;
        return 0;
      default:
        return EINVAL;
    }
  }

  int OnVcpuCommand(const FakeVm& vm, uint32_t vcpu, unsigned long request, void* argument) override {
    if (request != abi::kMemoryEncryptOp) return ENOTTY;
    auto& command = *static_cast<abi::TdxCommand*>(argument);
    if (!initialised || final || command.hw_error != 0) return EINVAL;
    if (command.id == abi::kTdxInitVcpu) {
      if (auto failure = Take(command.id)) {
        command.hw_error = failure->hw_error;
        return failure->error;
      }
      if (command.flags != 0 || vcpu_rcx.contains(vcpu) || !HasX2apic(vm.vcpus.at(vcpu))) return EINVAL;
      vcpu_rcx[vcpu] = command.data;
      return 0;
    }
    if (command.id == abi::kTdxInitMemRegion) return AddPages(vm, vcpu, command);
    return EINVAL;
  }

  int OnCreateVcpu(const FakeVm& vm, uint32_t) override {
    if (!initialised) return EIO;
    return vm.split_irqchip_pins.has_value() ? 0 : EINVAL;
  }
  int OnSetState(const FakeVm&, uint32_t) override { return EINVAL; }  // registers are the TD's
  int OnRun(const FakeVm&, uint32_t vcpu) override { return final && vcpu_rcx.contains(vcpu) ? 0 : EINVAL; }

  // A guest's access to a device by TDVMCALL: KVM hands it to user space without the shared bit, and refuses
  // a private address. The exit, or the status that the guest gets at once.
  static std::optional<MmioExit> Mmio(uint64_t gpa, uint64_t shared_bit) {
    if ((gpa & shared_bit) == 0) return std::nullopt;
    return MmioExit{false, gpa & ~shared_bit, {}};
  }

 private:
  std::optional<Failure> Take(uint32_t id) {
    auto& list = failures_[id];
    if (list.empty()) return std::nullopt;
    Failure failure = list.front();
    list.erase(list.begin());
    return failure;
  }

  static bool HasX2apic(const FakeVm::Vcpu& vcpu) {
    for (const kvm_cpuid_entry2& leaf : vcpu.cpuid) {
      if (leaf.function == 1) return (leaf.ecx >> 21 & 1) != 0;
    }
    return false;
  }

  template <class T>
  static std::vector<kvm_cpuid_entry2> LeavesBehind(uint64_t address, uint32_t count) {
    std::vector<kvm_cpuid_entry2> leaves(count);
    if (count > 0)
      std::memcpy(leaves.data(), reinterpret_cast<uint8_t*>(address) + sizeof(T), count * sizeof leaves[0]);
    return leaves;
  }

  int Capabilities(abi::TdxCommand& command) {
    if (command.flags != 0) return EINVAL;
    auto& out = *reinterpret_cast<abi::TdxCapabilities*>(command.data);
    if (out.cpuid.nent < configurable.size()) return E2BIG;
    out.supported_attrs = supported_attributes;
    out.supported_xfam = supported_xfam;
    out.cpuid.nent = static_cast<uint32_t>(configurable.size());
    if (!configurable.empty()) {
      std::memcpy(reinterpret_cast<uint8_t*>(command.data) + sizeof out, configurable.data(),
                  configurable.size() * sizeof configurable[0]);
    }
    return 0;
  }

  int InitVm(const FakeVm& vm, abi::TdxCommand& command) {
    constexpr uint64_t kOperandInvalid = 0xc000010000000000;
    if (initialised || command.flags != 0 || !vm.vcpus.empty()) return EINVAL;
    const auto& in = *reinterpret_cast<abi::TdxInitVm*>(command.data);
    if (in.cpuid.nent > 256) return E2BIG;
    for (uint64_t word : in.reserved) {
      if (word != 0) return EINVAL;
    }
    if ((in.attributes & ~supported_attributes) != 0 || (in.xfam & ~supported_xfam) != 0 ||
        (in.xfam & 3) != 3) {
      command.hw_error = kOperandInvalid;
      return EINVAL;
    }
    cpuid = LeavesBehind<abi::TdxInitVm>(command.data, in.cpuid.nent);
    attributes = in.attributes;
    xfam = in.xfam;
    std::memcpy(mr_config_id.data(), in.mrconfigid, sizeof in.mrconfigid);
    initialised = true;
    return 0;
  }

  int AddPages(const FakeVm& vm, uint32_t vcpu, abi::TdxCommand& command) {
    if (!vcpu_rcx.contains(vcpu) || (command.flags & ~abi::kTdxMeasureMemoryRegion) != 0) return EINVAL;
    auto& region = *reinterpret_cast<abi::TdxInitMemRegion*>(command.data);
    if (region.source_addr % 4096 != 0 || region.gpa % 4096 != 0 || region.nr_pages == 0) return EINVAL;
    if (region.gpa + (region.nr_pages << 12) <= region.gpa) return EINVAL;
    const auto failure = Take(command.id);
    for (uint32_t done = 0; region.nr_pages > 0; ++done) {
      if (failure && done == failure->after_pages) {
        command.hw_error = failure->hw_error;
        return failure->error;
      }
      if (!vm.IsPrivate(region.gpa, 4096) || !HasMemfd(vm, region.gpa)) return EFAULT;
      if (pages.contains(region.gpa)) return EEXIST;
      const auto* source = reinterpret_cast<const uint8_t*>(region.source_addr);
      pages[region.gpa].assign(source, source + 4096);
      if (command.flags != 0) measured.insert(region.gpa);
      region.source_addr += 4096;
      region.gpa += 4096;
      --region.nr_pages;
    }
    return 0;
  }

  static bool HasMemfd(const FakeVm& vm, uint64_t gpa) {
    for (const auto& [id, slot] : vm.slots) {
      if (gpa >= Raw(slot.gpa) && gpa < Raw(slot.gpa) + slot.size) return slot.guest_memfd >= 0;
    }
    return false;
  }

  std::map<uint32_t, std::vector<Failure>> failures_;
};

}  // namespace berth::vmm
