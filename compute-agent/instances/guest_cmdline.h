#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "placement/model/claim.h"

namespace berth::agent {

// Whether a claim's guest has its memory from secure memory: it never runs as an ordinary one.
bool IsConfidential(const placement::Claim& claim);

// The kernel command line of a confidential guest, and what the operator should know of it.
struct GuestCmdline {
  std::string text;
  std::string note;           // empty: nothing
  uint64_t buffer_bytes = 0;  // of the bounce buffer
};

// Adds swiotlb=x,force (seed 000), so that the guest's bounce buffer has exactly the size that the scheduler
// counted: the one that its kernel would choose for this memory and these vCPUs; `x86` is the guest's
// architecture, whose kernels take 6 % of the memory. A swiotlb= that is there already stays, gets "force" if
// it lacks it, and must be a multiple of 64 MiB that is not "noforce": kInvalidArgument, field "cmdline". A
// size that the kernel will round up, or that is larger than what was counted, is noted. Pure.
Result<GuestCmdline> ConfidentialCmdline(const placement::InstanceSpec& spec, bool x86);

// What to use instead when the devices of these PCI class codes may have more in flight than the buffer
// holds; empty: it is large enough. An estimate (BounceProfileOf). Pure.
std::string SwiotlbAdvice(uint64_t buffer_bytes, uint32_t vcpus, const std::vector<uint32_t>& class_codes);

// The swiotlb= with twice the bounce buffer of `slabs` of 2 KiB: what to use when it was full.
std::string LargerSwiotlb(uint64_t slabs);

}  // namespace berth::agent
