#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/cpu_set.h"
#include "common/status.h"

namespace berth::vmm {

// Limits of a control group (version 2). What is not given stays as the parent has it.
struct CgroupLimits {
  std::optional<CpuSet> cpus;
  std::optional<CpuSet> nodes;  // NUMA nodes that memory may come from
  std::optional<uint64_t> memory;
  std::optional<uint64_t> huge_pages_2m;  // bytes
  std::optional<uint64_t> huge_pages_1g;
  std::optional<uint64_t> processes;
};

// Makes the group `name` ("/berth/vm1") below `root`, with the controllers that the limits need switched on
// in its ancestors, writes the limits and moves this process into it. Errors name the file and the value that
// the kernel refuses.
Status EnterCgroup(const std::string& name, const CgroupLimits& limits,
                   const std::string& root = "/sys/fs/cgroup");

}  // namespace berth::vmm
