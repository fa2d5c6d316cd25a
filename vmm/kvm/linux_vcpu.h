#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

struct LinuxVcpuSizes {
  size_t run = 0;       // bytes of the area that is shared with the kernel
  size_t xsave = 4096;  // of the extended state; more than that needs KVM_GET_XSAVE2
  size_t nested = 0;    // of the state of a guest that runs guests; 0: KVM cannot tell it
};

// Wraps a vCPU descriptor. `msrs`: the registers that Save reads.
Result<std::unique_ptr<KvmVcpu>> OpenLinuxVcpu(UniqueFd fd, const LinuxVcpuSizes& sizes,
                                               std::shared_ptr<const std::vector<uint32_t>> msrs);

}  // namespace berth::vmm
