#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// The page from which an SEV-SNP guest learns its CPUID instead of asking the hypervisor (SEV-SNP Firmware
// ABI, section 7.1: a count and entries of 48 bytes; at most 64). kOutOfRange when there are more leaves.
Status FillSnpCpuidPage(std::span<const kvm_cpuid_entry2> leaves, std::span<uint8_t> page);

// The first leaf of which the firmware wants other values than it was given: "CPUID leaf 0x7: ecx 0x1 is
// refused, 0x0 would be accepted". Both are such pages, of any bytes.
std::string DescribeSnpCpuidDifference(std::span<const uint8_t> asked, std::span<const uint8_t> accepted);

}  // namespace berth::vmm
