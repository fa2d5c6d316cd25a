#pragma once

#include <cstdint>
#include <map>

#include "compute-agent/inventory/root.h"
#include "placement/model/host.h"

namespace berth::agent {

// What programs can still have of each node's ordinary memory (see NumaNodeInfo::memory_available_bytes),
// from the nodes' meminfo alone: quick enough to be asked every few seconds. A machine without NUMA support
// is node 0. Nodes that cannot be read are left out.
std::map<placement::NumaNode, uint64_t> ReadAvailableMemory(const Root& root);

}  // namespace berth::agent
