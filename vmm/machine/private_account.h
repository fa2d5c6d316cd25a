#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::vmm {

// Where a confidential guest's private memory really lies. It has no mapping, so that /proc/PID/numa_maps
// does not show it; but the kernel counts it as memory of the process's cgroup that cannot be evicted, by
// host node (Documentation/admin-guide/cgroup-v2.rst, memory.numa_stat), and a VMM has no other such memory.

// Bytes by host node, of a memory.numa_stat's text. kInvalidArgument when it does not say.
Result<std::map<uint32_t, uint64_t>> UnevictableByNode(std::string_view numa_stat);

// The same for the cgroup of process `pid`, which must be alone there. `cgroups`: where the file system of
// cgroups (version 2) is; `membership`: the text of /proc/PID/cgroup. kFailedPrecondition tells why it cannot
// be known.
Result<std::map<uint32_t, uint64_t>> UnevictableOfCgroup(const std::string& cgroups,
                                                         std::string_view membership, int pid);

}  // namespace berth::vmm
