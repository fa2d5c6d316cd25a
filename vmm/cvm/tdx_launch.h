#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vmm/cvm/launch.h"
#include "vmm/cvm/mrtd.h"
#include "vmm/cvm/tdvf.h"

namespace berth::vmm {

// An Intel TDX guest (trust domain), by the interface of Linux 6.16
// (Documentation/virt/kvm/x86/intel-tdx.rst): CAPABILITIES and INIT_VM, INIT_VCPU for each vCPU,
// INIT_MEM_REGION for each section of the firmware, and FINALIZE_VM. The firmware is TDVF or td-shim; a
// kernel goes into td-shim's PAYLOAD section.
class TdxLaunch final : public Launch {
 public:
  struct Options {
    bool debug = false;                      // the host may look inside; shown in the report
    std::array<uint8_t, 48> mr_config_id{};  // given to the guest's report
  };

  // kInvalidArgument: not a TDX firmware. `firmware` outlives it.
  static Result<std::unique_ptr<TdxLaunch>> Create(std::span<const uint8_t> firmware, const Options& options);

  VmType vm_type() const override { return VmType::kTdx; }
  bool starts_private() const override { return true; }
  bool owns_registers() const override { return true; }
  std::vector<LaunchRange> extra_memory() const override;
  Status InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) override;
  Status InitVcpu(KvmVcpu& vcpu, uint32_t id) override;
  Status Load(KvmVm& vm, KvmVcpu& boot, const LaunchContent& content) override;
  Status Finish(KvmVm& vm) override;
  std::optional<LaunchMeasurement> measurement() const override { return measurement_; }

 private:
  TdxLaunch(std::span<const uint8_t> firmware, const Options& options, std::vector<TdvfSection> sections)
      : firmware_(firmware), options_(options), sections_(std::move(sections)) {}

  const TdvfSection& Hob() const;
  Status AddSection(KvmVcpu& boot, const TdvfSection& section, std::span<const uint8_t> data);

  const std::span<const uint8_t> firmware_;
  const Options options_;
  const std::vector<TdvfSection> sections_;
  MrtdBuilder mrtd_;
  std::optional<LaunchMeasurement> measurement_;
};

}  // namespace berth::vmm
