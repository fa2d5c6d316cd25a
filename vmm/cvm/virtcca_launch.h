#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/cvm/launch.h"

namespace berth::vmm {

// A virtCCA guest on Kunpeng, by the interface of openEuler 24.03's KVM: configuration items, user data
// (where the images lie, and which host node backs which guest memory), CREATE_RD, POPULATE of the images, a
// TEC for each vCPU, ACTIVATE. All secure memory is taken when it is activated; there are no conversions
// afterwards: the guest marks what it shares by an address bit.
class VirtccaLaunch final : public Launch {
 public:
  struct Node {
    uint64_t ipa = 0;
    uint64_t size = 0;  // whole 2 MiB
    uint32_t host_node = 0;
    std::vector<uint32_t> vcpus;
  };
  struct Images {
    uint64_t loader_start = 0;  // the start of RAM
    uint64_t image_end = 0;     // of the kernel
    uint64_t initrd_start = 0;
    uint64_t dtb_end = 0;
  };
  struct Options {
    bool sha512 = false;
    std::optional<uint32_t> sve_vector_bits = std::nullopt;  // a multiple of 128
    std::optional<uint32_t> pmu_counters = std::nullopt;
    std::vector<Node> nodes;
    Images images;
  };

  explicit VirtccaLaunch(Options options) : options_(std::move(options)) {}

  VmType vm_type() const override { return VmType::kArmRealm; }
  bool starts_private() const override { return true; }
  bool owns_registers() const override { return false; }  // the TEC takes what the VMM has set
  Status InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) override;
  Status InitVcpu(KvmVcpu& vcpu, uint32_t id) override;
  Status Load(KvmVm& vm, KvmVcpu& boot, const LaunchContent& content) override;
  Status Finish(KvmVm& vm) override;

 private:
  Status CheckOptions() const;

  const Options options_;
};

}  // namespace berth::vmm
