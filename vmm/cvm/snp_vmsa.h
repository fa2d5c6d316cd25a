#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// SEV_FEATURES of a VMSA: bit 0 says that SNP is active.
inline constexpr uint64_t kSevSnpActive = 1;

// A vCPU's state at reset, as KVM hands it to the firmware: the parts that are not zero.
struct SnpVcpuState {
  uint32_t reset_eip =
      0xfffffff0;          // the first instruction: the other processors start where the firmware says
  uint32_t signature = 0;  // family, model and stepping, as CPUID leaf 1 tells them; in RDX
  uint64_t sev_features = kSevSnpActive;
};
// The page of the state (AMD64 Architecture Programmer's Manual, volume 2, table B-4).
std::array<uint8_t, 4096> BuildVmsa(const SnpVcpuState& state);

// Of a page of 4 KiB.
uint64_t SevFeaturesOf(std::span<const uint8_t> vmsa);

// What KVM builds the page from again: `state` with the page's registers, segments and control registers.
VcpuState StateFromVmsa(std::span<const uint8_t> vmsa, VcpuState state);

// Whether KVM, from StateFromVmsa, would build this very page: the firmware measures what KVM builds.
// kFailedPrecondition names the first field in which it would not.
Status CheckVmsa(std::span<const uint8_t> vmsa);

}  // namespace berth::vmm
