#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "vmm/jail/call_table.h"

namespace berth::vmm {

// The seccomp program of a kind of thread, for x86-64: what the table allows is allowed, calls of other
// architectures (32-bit, x32) end the process, and all else does what `refused` says (SECCOMP_RET_*). Pure.
std::vector<sock_filter> BuildFilter(ThreadKind kind, uint32_t refused);

}  // namespace berth::vmm
