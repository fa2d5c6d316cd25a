#pragma once

#include <map>
#include <optional>

#include "common/cpu_set.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {

// What /sys/devices/system/cpu tells about each CPU.
struct CpuTopology {
  CpuSet online;
  CpuSet offline;                       // present but switched off
  std::map<uint32_t, uint32_t> socket;  // online CPU -> physical package; absent: not told
  std::map<uint32_t, CpuSet> siblings;  // online CPU -> threads of its core, itself among them

  // The cores of `cpus`: a partition of it, also where the kernel's sibling sets contradict each other.
  std::vector<CpuSet> CoresOf(const CpuSet& cpus) const;
};

CpuTopology ReadCpus(const Root& root, Warnings& warnings);

}  // namespace berth::agent
