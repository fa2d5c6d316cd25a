#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/cvm/igvm.h"
#include "vmm/cvm/launch.h"
#include "vmm/cvm/sev_metadata.h"
#include "vmm/cvm/snp_digest.h"
#include "vmm/cvm/snp_vmsa.h"

namespace berth::vmm {

// An AMD SEV-SNP guest, by the interface of Linux 6.11
// (Documentation/virt/kvm/x86/amd-memory-encryption.rst): KVM_SEV_INIT2, SNP_LAUNCH_START, SNP_LAUNCH_UPDATE
// for each range of pages, and SNP_LAUNCH_FINISH, at which KVM measures the vCPUs' states. The guest starts
// from an IGVM file, or from an OVMF image with SEV metadata.
class SnpLaunch final : public Launch {
 public:
  struct Options {
    uint64_t policy = 0x30000;
    std::array<uint8_t, 32> host_data{};
    uint32_t vcpus = 1;
    std::string device = "/dev/sev";
  };

  // The images outlive it. kInvalidArgument: not made for SEV-SNP.
  static Result<std::unique_ptr<SnpLaunch>> FromIgvm(std::span<const uint8_t> file, const Options& options);
  static Result<std::unique_ptr<SnpLaunch>> FromFirmware(std::span<const uint8_t> image,
                                                         const Options& options);

  VmType vm_type() const override { return VmType::kSevSnp; }
  bool starts_private() const override { return true; }
  bool owns_registers() const override { return true; }  // this launch sets them, as they are measured
  std::vector<LaunchRange> extra_memory() const override { return extra_; }
  Status InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) override;
  Status InitVcpu(KvmVcpu& vcpu, uint32_t id) override;
  Status Load(KvmVm& vm, KvmVcpu& boot, const LaunchContent& content) override;
  Status Finish(KvmVm& vm) override;
  std::optional<LaunchMeasurement> measurement() const override { return measurement_; }

 private:
  // Pages of one kind; `data` may be shorter, zeros fill the rest.
  struct Piece {
    uint8_t type = 0;  // abi::SnpPageType
    uint64_t gpa = 0;
    uint64_t size = 0;
    std::span<const uint8_t> data;
  };

  explicit SnpLaunch(const Options& options) : options_(options) {}

  Status Update(KvmVm& vm, const Piece& piece);
  int SevCommand(KvmVm& vm, uint32_t id, void* data, uint32_t& firmware_error);
  std::array<uint8_t, 4096> VmsaOf(uint32_t vcpu) const;

  const Options options_;
  std::vector<Piece> pieces_;
  std::vector<LaunchRange> extra_;
  std::vector<std::vector<uint8_t>> vmsas_;  // from an IGVM file, by vCPU; else made here
  uint32_t application_eip_ = 0xfffffff0;
  uint64_t sev_features_ = kSevSnpActive;    // of all vCPUs
  std::vector<uint8_t> id_block_, id_auth_;  // as the firmware wants them; empty: none
  bool author_key_ = false;
  std::vector<kvm_cpuid_entry2> cpuid_;
  UniqueFd sev_;
  SnpDigest digest_;
  std::optional<LaunchMeasurement> measurement_;
};

}  // namespace berth::vmm
