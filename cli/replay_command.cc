#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/replay_command.h"
#include "cli/table.h"
#include "scheduler/replay/gpu_replay.h"
#include "scheduler/replay/vm_replay.h"

namespace berth::cli {
namespace {

namespace replay = scheduler::replay;
using Align = Table::Align;

struct ReplayOptions {
  std::string trace;
  std::string workload;
  std::string split = "test";
  std::string objective = "fragmentation";
  uint32_t seeds = 10;
  uint32_t hosts = 0;
  unsigned threads = 0;
};

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

double Round(double value, int digits) {
  double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

Json LatencyJson(const replay::Latency& latency) {
  return {{"decisions", latency.decisions},
          {"p50_us", Round(latency.p50_us, 2)},
          {"p99_us", Round(latency.p99_us, 2)},
          {"max_us", Round(latency.max_us, 1)},
          {"per_cpu_second", std::round(latency.per_second)}};
}

replay::Objective ObjectiveOf(const ReplayOptions& options) {
  return options.objective == "fullest" ? replay::Objective::kFullest : replay::Objective::kFragmentation;
}

// One workload over all seeds.
struct GpuFigures {
  std::string workload;
  std::vector<replay::GpuReplayResult> runs;

  double Mean() const {
    double sum = 0;
    for (const auto& run : runs) sum += run.allocated_percent;
    return sum / static_cast<double>(runs.size());
  }
  double Deviation() const {
    double sum = 0;
    for (const auto& run : runs) sum += std::pow(run.allocated_percent - Mean(), 2);
    return std::sqrt(sum / static_cast<double>(runs.size()));
  }
};

Result<std::vector<GpuFigures>> RunGpu(const ReplayOptions& options) {
  std::vector<replay::GpuTrace> traces;
  std::vector<GpuFigures> figures;
  for (std::string_view workload : replay::GpuWorkloads()) {
    if (!options.workload.empty() && options.workload != workload) continue;
    TRY_ASSIGN(replay::GpuTrace trace, replay::ReadGpuTrace(options.trace, std::string(workload)));
    traces.push_back(std::move(trace));
    figures.push_back({std::string(workload), std::vector<replay::GpuReplayResult>(options.seeds)});
  }
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t job = next++; job < traces.size() * options.seeds; job = next++) {
      replay::GpuReplayOptions one;
      one.objective = ObjectiveOf(options);
      one.seed = 42 + static_cast<uint32_t>(job % options.seeds);
      figures[job / options.seeds].runs[job % options.seeds] =
          replay::ReplayGpuTrace(traces[job / options.seeds], one);
    }
  };
  unsigned threads =
      options.threads != 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> workers;
  for (unsigned i = 1; i < threads; ++i) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
  return figures;
}

Json GpuJson(const std::vector<GpuFigures>& all, const ReplayOptions& options) {
  Json workloads = Json::array();
  for (const GpuFigures& figures : all) {
    Json seeds = Json::array();
    uint64_t faults = 0;
    for (const auto& run : figures.runs) {
      seeds.push_back(Round(run.allocated_percent, 3));
      faults += run.faults;
    }
    Json one = {{"workload", figures.workload},
                {"gpu_allocated_percent", Round(figures.Mean(), 3)},
                {"deviation", Round(figures.Deviation(), 3)},
                {"seeds", std::move(seeds)},
                {"faults", faults}};
    if (auto published = replay::PublishedFor(figures.workload))
      one["published"] = {{"fgd", published->fgd}, {"best_fit", published->best_fit}};
    one["decision"] = LatencyJson(figures.runs.front().latency);
    workloads.push_back(std::move(one));
  }
  return {{"trace", "openb-gpu-2023"},
          {"objective", options.objective},
          {"load_percent", 130},
          {"workloads", std::move(workloads)}};
}

std::string GpuText(const std::vector<GpuFigures>& all) {
  Table table({{"WORKLOAD"},
               {"GPU ALLOCATED %", Align::kRight},
               {"+-", Align::kRight},
               {"FGD %", Align::kRight},
               {"BESTFIT %", Align::kRight},
               {"P50 US", Align::kRight},
               {"P99 US", Align::kRight},
               {"FAULTS", Align::kRight}});
  for (const GpuFigures& figures : all) {
    auto published = replay::PublishedFor(figures.workload);
    uint64_t faults = 0;
    for (const auto& run : figures.runs) faults += run.faults;
    const replay::Latency& latency = figures.runs.front().latency;
    table.AddRow({figures.workload, Fixed(figures.Mean(), 2), Fixed(figures.Deviation(), 2),
                  published ? Fixed(published->fgd, 2) : "", published ? Fixed(published->best_fit, 2) : "",
                  Fixed(latency.p50_us, 2), Fixed(latency.p99_us, 1), std::to_string(faults)});
  }
  return table.ToString();
}

Json FillJson(const replay::Fill& fill) {
  return {{"cpu_percent", Round(fill.cpu_percent, 2)}, {"memory_percent", Round(fill.memory_percent, 2)}};
}

Json VmJson(const std::string& name, const replay::VmReplayResult& result, uint32_t hosts,
            const ReplayOptions& options) {
  Json out = {{"trace", name},
              {"objective", options.objective},
              {"hosts", hosts},
              {"arrived", result.arrived},
              {"refused", result.refused},
              {"split", result.split},
              {"largest_batch", result.largest_batch}};
  out["first_refusal"] = result.first_refusal ? FillJson(*result.first_refusal) : Json(nullptr);
  out["peak"] = FillJson(result.peak);
  out["faults"] = result.faults;
  out["decision"] = LatencyJson(result.decision);
  if (result.batch.decisions > 0) out["batch"] = LatencyJson(result.batch);
  return out;
}

std::string VmText(const std::string& name, const replay::VmReplayResult& result, uint32_t hosts) {
  auto fill = [](const replay::Fill& one) {
    return Fixed(one.cpu_percent, 1) + " % CPU, " + Fixed(one.memory_percent, 1) + " % memory";
  };
  auto times = [](const replay::Latency& one) {
    return "p50 " + Fixed(one.p50_us, 2) + " us, p99 " + Fixed(one.p99_us, 1) + " us, max " +
           Fixed(one.max_us, 0) + " us, " + Fixed(one.per_second, 0) + " per CPU second";
  };
  std::string text = name + " on " + std::to_string(hosts) + " hosts: " + std::to_string(result.arrived) +
                     " VMs, " + std::to_string(result.refused) + " refused, " + std::to_string(result.split) +
                     " on two nodes, " + std::to_string(result.faults) + " faults\n";
  text +=
      "first refusal  " + (result.first_refusal ? fill(*result.first_refusal) : std::string("none")) + "\n";
  text += "fullest        " + fill(result.peak) + "\n";
  text += "decision       " + times(result.decision) + "\n";
  if (result.batch.decisions > 0) text += "batch          " + times(result.batch) + "\n";
  return text;
}

Status RunVm(Context& context, Format format, const ReplayOptions& options, bool packing) {
  std::string name = packing ? "azure-packing-2020-sample" : "azure-vm-2017";
  TRY_ASSIGN(replay::VmTrace trace, packing ? replay::ReadPackingTrace(options.trace)
                                            : replay::ReadArrivalsTrace(options.trace, options.split));
  replay::VmReplayOptions one;
  one.objective = ObjectiveOf(options);
  // Without a number: where the packing is published, or so many that nine tenths are in use at the peak.
  one.hosts = options.hosts != 0 ? options.hosts
              : packing          ? 3000
                                 : static_cast<uint32_t>(std::ceil(replay::PeakCores(trace) / (0.9 * 96)));
  replay::VmReplayResult result = replay::ReplayVmTrace(trace, one);
  context.terminal.out << (format == Format::kTable
                               ? VmText(name, result, one.hosts)
                               : ToText(VmJson(name, result, one.hosts, options), format));
  return OkStatus();
}

Status RunReplay(Context& context, const ReplayOptions& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  auto has = [&](const char* file) { return std::filesystem::exists(options.trace + "/" + file); };
  if (has("openb_node_list_gpu_node.csv")) {
    TRY_ASSIGN(std::vector<GpuFigures> figures, RunGpu(options));
    context.terminal.out << (format == Format::kTable ? GpuText(figures)
                                                      : ToText(GpuJson(figures, options), format));
    return OkStatus();
  }
  if (has("vm_sample_batched.csv.gz")) return RunVm(context, format, options, true);
  if (has("flav_map.txt")) return RunVm(context, format, options, false);
  return InvalidArgument("\"" + options.trace + "\" holds no known trace", "trace",
                         "it has openb_node_list_gpu_node.csv, vm_sample_batched.csv.gz or flav_map.txt");
}

}  // namespace

void AddReplay(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* verb =
      AddVerb(app, "replay", "Run a recorded trace through the scheduler's engine: packing and latency",
              "berthctl replay --trace traces/openb-gpu-2023 -o json");
  auto options = std::make_shared<ReplayOptions>();
  verb->add_option("--trace", options->trace, "Folder of the trace")->type_name("DIR")->required();
  verb->add_option("--workload", options->workload, "Only this workload of openb-gpu-2023; default: all five")
      ->check(CLI::IsMember(
          std::vector<std::string>(replay::GpuWorkloads().begin(), replay::GpuWorkloads().end())));
  verb->add_option("--split", options->split, "Split of azure-vm-2017")
      ->check(CLI::IsMember({"dev", "test"}))
      ->capture_default_str();
  verb->add_option("--objective", options->objective, "How hosts that fit are ordered")
      ->check(CLI::IsMember({"fragmentation", "fullest"}))
      ->capture_default_str();
  verb->add_option("--seeds", options->seeds, "Random orders of openb-gpu-2023, of which the mean is told")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_option("--hosts", options->hosts, "Hosts for the traces of VMs; 0: as docs/replay.md says")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  verb->add_option("--threads", options->threads, "Threads for openb-gpu-2023; 0: one for each core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  AddOutputOption(*verb, context, "table (default), json, yaml");
  verbs.Add(verb, [options](Context& c) { return RunReplay(c, *options); });
}

}  // namespace berth::cli
