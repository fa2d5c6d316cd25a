#include "scheduler/replay/gpu_replay.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/fragmentation.h"
#include "scheduler/service/candidates.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/host_policy.h"
#include "scheduler/weighers/device_fragmentation.h"

namespace berth::scheduler::replay {
namespace {

constexpr uint32_t kSlices = 100;  // VFs of a GPU: shares are multiples of 10 thousandths
constexpr uint64_t kMib = uint64_t{1} << 20;

std::string ModelId(uint32_t model, bool slice) {
  static const char* digits = "0123456789abcdef";
  std::string id = slice ? "5000" : "a000";
  id[2] = digits[model / 16 % 16];
  id[3] = digits[model % 16];
  return id;
}

FitDevice ExampleOf(uint32_t model, bool slice) {
  FitDevice device;
  device.kind = slice ? DeviceKind::kVf : DeviceKind::kPf;
  device.vendor_id = "10de";
  device.product_id = ModelId(model, slice);
  device.remote_managed = false;
  return device;
}

// vCPUs are thousandths of a CPU here: floating ones of an overcommitted host.
RequestSpec SpecOf(const GpuTask& task, size_t models) {
  RequestSpec spec;
  spec.vcpus = static_cast<uint32_t>(task.cpu_milli);
  spec.memory_bytes = task.memory_mib * kMib;
  if (task.gpus == 0) return spec;
  bool slice = task.gpu_milli < 1000;
  PciRequest request;
  request.name = "gpu";
  request.count = slice ? task.gpu_milli * kSlices / 1000 : task.gpus;
  for (uint32_t model = 0; model < models; ++model) {
    if (task.models != 0 && (task.models >> model & 1) == 0) continue;
    DeviceMatch match;
    match.vendor_id = "10de";
    match.product_id = ModelId(model, slice);
    match.kind = slice ? DeviceKind::kVf : DeviceKind::kPf;
    request.alternatives.push_back(std::move(match));
  }
  spec.pci = {std::move(request)};
  if (slice) spec.domains = {{kParentDomain, 1}};
  return spec;
}

// One replay: hosts as pictures of a fleet, and a ledger that knows nothing of them.
class GpuReplay {
 public:
  GpuReplay(const GpuTrace& trace, const GpuReplayOptions& options)
      : trace_(trace), options_(options), objective_(MakeObjective(trace)) {
    FragmentationObjective& objective = *objective_;
    for (const GpuTask& task : trace.kinds) {
      specs_.push_back(SpecOf(task, trace.models.size()));
      demands_.push_back(objective.DemandOf(specs_.back()));
    }
    objective.SetUsual(Usual());
    if (options.objective == Objective::kFragmentation)
      policy_.weighers = WeigherSet::Of(MakeDeviceFragmentationWeigher(objective_));
    for (uint32_t node = 0; node < trace.nodes.size(); ++node) AddNode(node);
  }

  GpuReplayResult Run() {
    CandidateCache cache(trace_.kinds.size() + 1, UINT64_MAX, &policy_);
    GpuReplayResult result;
    std::vector<uint32_t> times;
    uint64_t allocated = 0;
    for (uint32_t kind : Arrivals()) {
      ++result.arrived;
      uint64_t start = ThreadCpuNs();
      HostViewPtr host = cache.Best(fleet_, specs_[kind]).host;
      times.push_back(static_cast<uint32_t>(std::min<uint64_t>(ThreadCpuNs() - start, UINT32_MAX)));
      if (host == nullptr) {
        ++result.refused;
        continue;
      }
      if (!Place(*host, kind)) ++result.faults;
      allocated += uint64_t{trace_.kinds[kind].gpus} * trace_.kinds[kind].gpu_milli;
    }
    result.allocated_percent = 100.0 * static_cast<double>(allocated) / static_cast<double>(GpuMilli());
    result.latency = Summarize(times);
    return result;
  }

 private:
  // What the ledger knows of a node.
  struct Node {
    uint64_t cpu_milli = 0;
    uint64_t memory_mib = 0;
    std::vector<uint32_t> gpu_milli;  // free of each
  };

  static std::shared_ptr<FragmentationObjective> MakeObjective(const GpuTrace& trace) {
    DeviceTypes& types = DeviceTypes::OfProcess();
    std::vector<ScarceDevices> kinds;
    for (uint32_t model = 0; model < trace.models.size(); ++model)
      kinds.push_back(
          {types.NumberOf(ExampleOf(model, false)), types.NumberOf(ExampleOf(model, true)), kSlices});
    HostScale scale;
    for (const GpuNode& node : trace.nodes) {
      scale.vcpus = std::max(scale.vcpus, node.cpu_milli);
      scale.memory_bytes = std::max(scale.memory_bytes, node.memory_mib * kMib);
      scale.devices = std::max(scale.devices, node.gpus);
    }
    return std::make_shared<FragmentationObjective>(std::move(kinds), scale, types);
  }

  std::vector<WeightedDemand> Usual() const {
    std::vector<uint64_t> counts(trace_.kinds.size());
    for (uint32_t kind : trace_.tasks) ++counts[kind];
    std::vector<uint32_t> order(counts.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return counts[a] > counts[b]; });
    std::vector<WeightedDemand> usual;
    double wanted = options_.usual * static_cast<double>(trace_.tasks.size());
    double sum = 0;
    for (size_t i = 0; i < order.size() && sum < wanted; ++i) {
      usual.push_back({demands_[order[i]], static_cast<double>(counts[order[i]])});
      sum += usual.back().weight;
    }
    for (WeightedDemand& one : usual) one.weight /= sum;
    return usual;
  }

  uint64_t GpuMilli() const {
    uint64_t milli = 0;
    for (const GpuNode& node : trace_.nodes) milli += uint64_t{1000} * node.gpus;
    return std::max<uint64_t>(milli, 1);
  }

  void AddNode(uint32_t number) {
    const GpuNode& node = trace_.nodes[number];
    ledger_.push_back({node.cpu_milli, node.memory_mib, std::vector<uint32_t>(node.gpus, 1000)});
    placement::HostReport report;
    report.name = std::to_string(number);
    report.name.insert(0, 8 - std::min<size_t>(8, report.name.size()), '0');
    auto view = std::make_shared<HostView>();
    view->report = std::make_shared<const placement::HostReport>(std::move(report));
    FitHost& fit = view->fit;
    fit.rules = FitRules::kClaims;
    fit.cpu_ratio = 1000;
    fit.base_room_bytes = node.memory_mib * kMib;
    FitCell cell;
    cell.shared_cpus = CpuSet::Range(0, static_cast<uint32_t>(node.cpu_milli / 1000) - 1);
    fit.cells.push_back(std::move(cell));
    Prepare(fit);
    Publish(number, std::move(view));
  }

  // The groups of a node's GPUs from the ledger: the PF of one that is untouched, and the VFs that are free.
  void Publish(uint32_t number, std::shared_ptr<HostView> view) {
    const std::vector<ScarceDevices>& kinds = objective_->kinds();
    const ScarceDevices& types = kinds[trace_.nodes[number].model];
    view->fit.groups.clear();
    for (size_t gpu = 0; gpu < ledger_[number].gpu_milli.size(); ++gpu) {
      DeviceGroup group;
      group.family = static_cast<int32_t>(gpu);
      group.count = 1;
      group.is_parent = true;
      group.type = types.whole_type;
      uint32_t free = ledger_[number].gpu_milli[gpu];
      if (free == 1000) view->fit.groups.push_back(group);
      group.is_parent = false;
      group.type = types.slice_type;
      group.count = free * kSlices / 1000;
      if (group.count > 0) view->fit.groups.push_back(group);
    }
    view->state = FitStates::OfProcess().Of(view->fit);
    fleet_ = fleet_->With(number, std::move(view));
  }

  // False: the ledger says that it does not fit.
  bool Place(const HostView& host, uint32_t kind) {
    auto number = static_cast<uint32_t>(std::stoul(host.report->name));
    const GpuTask& task = trace_.kinds[kind];
    Node& node = ledger_[number];
    DeviceRoom room = objective_->RoomOf(host.fit);
    std::vector<size_t> gpus = objective_->Place(room, demands_[kind]).devices;
    bool right_model = task.models == 0 || (task.models >> trace_.nodes[number].model & 1) != 0;
    if (task.cpu_milli > node.cpu_milli || task.memory_mib > node.memory_mib || gpus.size() != task.gpus ||
        (task.gpus > 0 && !right_model))
      return false;
    node.cpu_milli -= task.cpu_milli;
    node.memory_mib -= task.memory_mib;
    for (size_t gpu : gpus) {
      uint32_t& free = node.gpu_milli[static_cast<size_t>(room.family[gpu])];
      if (free < task.gpu_milli) return false;
      free -= task.gpu_milli;
    }
    auto view = std::make_shared<HostView>(host);
    ++view->generation;
    view->fit.floating_vcpus += static_cast<uint32_t>(task.cpu_milli);
    view->fit.base_room_bytes -= task.memory_mib * kMib;
    Publish(number, std::move(view));
    return true;
  }

  std::vector<uint32_t> Arrivals() const {
    std::mt19937_64 random(options_.seed);
    std::vector<uint32_t> order = trace_.tasks;
    std::shuffle(order.begin(), order.end(), random);
    double wanted = options_.load * static_cast<double>(GpuMilli());
    double asked = 0;
    std::vector<uint32_t> out;
    // Without any GPU in the workload each task comes once.
    for (size_t i = 0; asked < wanted && (asked > 0 || i < order.size()); ++i) {
      uint32_t kind = i < order.size() ? order[i] : trace_.tasks[random() % trace_.tasks.size()];
      asked += static_cast<double>(trace_.kinds[kind].gpus) * trace_.kinds[kind].gpu_milli;
      out.push_back(kind);
    }
    return out;
  }

  const GpuTrace& trace_;
  const GpuReplayOptions options_;
  const std::shared_ptr<FragmentationObjective> objective_;  // shared with its weigher
  HostPolicy policy_;
  std::vector<RequestSpec> specs_;  // by kind
  std::vector<Demand> demands_;     // likewise
  std::vector<Node> ledger_;
  std::shared_ptr<const Fleet> fleet_ = std::make_shared<const Fleet>();
};

}  // namespace

GpuReplayResult ReplayGpuTrace(const GpuTrace& trace, const GpuReplayOptions& options) {
  return GpuReplay(trace, options).Run();
}

std::optional<PublishedGpu> PublishedFor(const std::string& workload) {
  if (workload == "default") return PublishedGpu{93.08, 95.39};
  if (workload == "gpuspec33") return PublishedGpu{93.09, 94.55};
  if (workload == "multigpu50") return PublishedGpu{95.74, 97.18};
  if (workload == "gpushare100") return PublishedGpu{85.01, 86.90};
  if (workload == "cpu250") return PublishedGpu{91.45, 93.41};
  return std::nullopt;
}

}  // namespace berth::scheduler::replay
