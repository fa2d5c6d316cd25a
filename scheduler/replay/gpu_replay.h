#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "scheduler/replay/gpu_trace.h"
#include "scheduler/replay/latency.h"

namespace berth::scheduler::replay {

// Which host is chosen among those that fit: where the least new fragmentation is (FragmentationObjective),
// or the built-in order of the service.
enum class Objective { kFragmentation, kFullest };

struct GpuReplayOptions {
  Objective objective = Objective::kFragmentation;
  uint32_t seed = 42;
  double load = 1.3;  // GPUs asked for, of those that there are
  // The tasks that count as usual for the objective: the commonest, until they are this part of all.
  double usual = 0.95;
};

struct GpuReplayResult {
  uint64_t arrived = 0;
  uint64_t refused = 0;
  double allocated_percent = 0;  // of all GPUs, in thousandths of each
  uint64_t faults = 0;           // placements that the ledger does not agree with; 0 or a defect
  Latency latency;               // of choosing the host
};

// The protocol of the published figures: tasks in a random order, then drawn at random again, until the GPUs
// asked for reach the load; nobody leaves; what does not fit is refused.
GpuReplayResult ReplayGpuTrace(const GpuTrace& trace, const GpuReplayOptions& options);

// GPU allocated in percent as published with the trace, mean of ten seeds; nothing for other workloads.
struct PublishedGpu {
  double best_fit = 0;
  double fgd = 0;
};
std::optional<PublishedGpu> PublishedFor(const std::string& workload);

}  // namespace berth::scheduler::replay
