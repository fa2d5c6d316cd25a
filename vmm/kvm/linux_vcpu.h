#pragma once

#include <cstddef>
#include <memory>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// Wraps a vCPU descriptor; `run_size` bytes of it are the area shared with the kernel.
Result<std::unique_ptr<KvmVcpu>> OpenLinuxVcpu(UniqueFd fd, size_t run_size);

}  // namespace berth::vmm
