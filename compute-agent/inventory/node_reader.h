#pragma once

#include <vector>

#include "compute-agent/inventory/cpu_reader.h"
#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {

// The NUMA nodes, ascending by id. A machine whose kernel has no NUMA support is one node 0 with everything.
// A node whose CPUs belong to an earlier node is left out with a warning: the firmware's table is wrong then,
// and nobody knows where its memory is (hwloc decides likewise).
std::vector<NumaNodeInfo> ReadNodes(const Root& root, const CpuTopology& cpus, Warnings& warnings);

}  // namespace berth::agent
