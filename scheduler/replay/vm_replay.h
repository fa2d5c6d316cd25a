#pragma once

#include <cstdint>
#include <optional>

#include "scheduler/replay/gpu_replay.h"
#include "scheduler/replay/latency.h"
#include "scheduler/replay/vm_trace.h"

namespace berth::scheduler::replay {

// Hosts of two NUMA nodes of 48 cores and 192 GiB each.
struct VmReplayOptions {
  Objective objective = Objective::kFragmentation;
  uint32_t hosts = 3000;
};

// How full the hosts are, in percent.
struct Fill {
  double cpu_percent = 0;
  double memory_percent = 0;
};

struct VmReplayResult {
  uint64_t arrived = 0;
  uint64_t refused = 0;  // all VMs of a batch when one of them finds no place
  uint64_t largest_batch = 0;
  std::optional<Fill> first_refusal;  // at that moment
  Fill peak;                          // when most CPUs were in use
  uint64_t split = 0;                 // VMs on both nodes of a host
  uint64_t faults = 0;                // placements that CheckClaim refuses; 0 or a defect
  Latency decision;                   // of one VM: host, nodes and CPUs
  Latency batch;                      // of a whole batch of two or more, with the claims of it
};

// VMs come and go in the trace's order, as claims in a mirror of the fleet. Each asks for one NUMA node; if
// no host has one that takes it, for two.
VmReplayResult ReplayVmTrace(const VmTrace& trace, const VmReplayOptions& options);

}  // namespace berth::scheduler::replay
