#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/kvm/kvm.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Writes what a guest that stands still is: an ELF core file with its RAM by guest-physical address and the
// registers of its vCPUs (NT_PRSTATUS), for crash(8) and gdb. The file must not exist and is readable by its
// owner only; pages of zeros become holes. On an error nothing is left.
Status WriteCoreDump(const std::string& path, const GuestMemory& memory, const std::vector<VcpuState>& vcpus);

}  // namespace berth::vmm
