#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::scheduler::replay {

// A node with whole GPUs of one model.
struct GpuNode {
  uint64_t cpu_milli = 0;
  uint64_t memory_mib = 0;
  uint32_t gpus = 0;
  uint32_t model = 0;  // index of GpuTrace::models

  friend bool operator==(const GpuNode&, const GpuNode&) = default;
};

// One kind of task: how many of them are asked for, and what each takes.
struct GpuTask {
  uint64_t cpu_milli = 0;
  uint64_t memory_mib = 0;
  uint32_t gpus = 0;
  uint32_t gpu_milli = 0;  // of each GPU, a multiple of 10; 0 without GPUs
  uint64_t models = 0;     // that will do, as a set; 0: any

  friend auto operator<=>(const GpuTask&, const GpuTask&) = default;
};

struct GpuTrace {
  std::string workload;
  std::vector<std::string> models;
  std::vector<GpuNode> nodes;
  std::vector<GpuTask> kinds;   // different ones
  std::vector<uint32_t> tasks;  // by index of `kinds`, in the order of the file
};

// The five workloads of openb-gpu-2023: openb_pod_list_WORKLOAD.csv.
const std::vector<std::string_view>& GpuWorkloads();

// From a folder with openb_node_list_gpu_node.csv. Errors: of ReadTraceFile, and kInvalidArgument with file,
// line and column.
Result<GpuTrace> ReadGpuTrace(const std::string& folder, const std::string& workload);

}  // namespace berth::scheduler::replay
