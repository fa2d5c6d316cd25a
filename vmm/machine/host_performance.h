#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "vmm/config/vm_config.h"

namespace berth::vmm {

// How fast the nearest processors reach a host node's memory. 0: the host does not tell.
struct NodePerformance {
  uint32_t read_latency_ns = 0;
  uint32_t write_latency_ns = 0;
  uint32_t read_bandwidth_mbs = 0;
  uint32_t write_bandwidth_mbs = 0;

  friend bool operator==(const NodePerformance&, const NodePerformance&) = default;
};
using HostPerformance = std::map<uint32_t, NodePerformance>;  // by host node

// The figures of the host nodes that the zones are bound to, from the host's own HMAT as the kernel shows it
// under `root`/sys; nodes without figures are left out.
HostPerformance ReadHostPerformance(const VmConfig& config, const std::string& root = "/");

}  // namespace berth::vmm
