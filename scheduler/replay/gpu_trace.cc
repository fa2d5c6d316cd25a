#include "scheduler/replay/gpu_trace.h"

#include <map>

#include "scheduler/replay/trace_table.h"

namespace berth::scheduler::replay {
namespace {

constexpr uint64_t kMaxMilli = 100'000'000;
constexpr uint64_t kMaxMib = uint64_t{1} << 30;
constexpr uint64_t kMaxGpus = 64;
constexpr size_t kMaxModels = 60;

using Models = std::map<std::string, uint32_t, std::less<>>;

Status ReadNodes(const std::string& folder, Models& models, GpuTrace& out) {
  const std::string name = "openb_node_list_gpu_node.csv";
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/" + name));
  TraceTable table(name, text);
  TRY_ASSIGN(size_t cpu, table.Column("cpu_milli"));
  TRY_ASSIGN(size_t memory, table.Column("memory_mib"));
  TRY_ASSIGN(size_t gpu, table.Column("gpu"));
  TRY_ASSIGN(size_t model, table.Column("model"));
  while (table.Next()) {
    GpuNode node;
    TRY_ASSIGN(node.cpu_milli, table.Number(cpu, kMaxMilli));
    if (node.cpu_milli % 1000 != 0) return table.Bad(cpu, "a number of whole CPUs");
    TRY_ASSIGN(node.memory_mib, table.Number(memory, kMaxMib));
    TRY_ASSIGN(uint64_t gpus, table.Number(gpu, kMaxGpus));
    node.gpus = static_cast<uint32_t>(gpus);
    auto known = models.emplace(table.Text(model), static_cast<uint32_t>(models.size())).first;
    if (models.size() > kMaxModels) return table.Bad(model, "one of at most 60 models");
    node.model = known->second;
    out.nodes.push_back(node);
  }
  out.models.resize(models.size());
  for (const auto& [model_name, number] : models) out.models[number] = model_name;
  return OkStatus();
}

// "P100|V100M16" as a set; models that no node has are none.
uint64_t ModelsOf(std::string_view text, const Models& models) {
  uint64_t set = 0;
  for (std::string_view name : SplitText(text, '|')) {
    auto known = models.find(name);
    if (known != models.end()) set |= uint64_t{1} << known->second;
  }
  return set;
}

}  // namespace

const std::vector<std::string_view>& GpuWorkloads() {
  static const std::vector<std::string_view> workloads = {"default", "gpuspec33", "multigpu50", "gpushare100",
                                                          "cpu250"};
  return workloads;
}

Result<GpuTrace> ReadGpuTrace(const std::string& folder, const std::string& workload) {
  GpuTrace out;
  out.workload = workload;
  Models models;
  TRY(ReadNodes(folder, models, out));
  const std::string name = "openb_pod_list_" + workload + ".csv";
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/" + name));
  TraceTable table(name, text);
  TRY_ASSIGN(size_t cpu, table.Column("cpu_milli"));
  TRY_ASSIGN(size_t memory, table.Column("memory_mib"));
  TRY_ASSIGN(size_t gpus, table.Column("num_gpu"));
  TRY_ASSIGN(size_t milli, table.Column("gpu_milli"));
  size_t spec = table.Column("gpu_spec").value_or(SIZE_MAX);  // not in all workloads
  std::map<GpuTask, uint32_t> kinds;
  while (table.Next()) {
    GpuTask task;
    TRY_ASSIGN(task.cpu_milli, table.Number(cpu, kMaxMilli));
    TRY_ASSIGN(task.memory_mib, table.Number(memory, kMaxMib));
    TRY_ASSIGN(uint64_t count, table.Number(gpus, kMaxGpus));
    TRY_ASSIGN(uint64_t share, table.Number(milli, 1000));
    task.gpus = static_cast<uint32_t>(count);
    task.gpu_milli = count == 0 ? 0 : static_cast<uint32_t>(share);
    if (count > 0 && (share == 0 || share % 10 != 0)) return table.Bad(milli, "a multiple of 10 above 0");
    if (count > 1 && share != 1000) return table.Bad(milli, "1000, as it must be of several GPUs");
    if (!table.Text(spec).empty()) {
      task.models = ModelsOf(table.Text(spec), models);
      if (task.models == 0) return table.Bad(spec, "a model of any node");
    }
    auto known = kinds.emplace(task, static_cast<uint32_t>(out.kinds.size()));
    if (known.second) out.kinds.push_back(task);
    out.tasks.push_back(known.first->second);
  }
  if (out.nodes.empty() || out.tasks.empty())
    return InvalidArgument("the trace in \"" + folder + "\" has no nodes or no tasks", "trace");
  return out;
}

}  // namespace berth::scheduler::replay
