#include "scheduler/replay/vm_replay.h"

#include <algorithm>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "placement/model/usage.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"
#include "scheduler/fit/fragmentation.h"
#include "scheduler/service/candidates.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/host_policy.h"
#include "scheduler/weighers/device_fragmentation.h"

namespace berth::scheduler::replay {
namespace {

constexpr uint32_t kNodes = 2;
constexpr uint32_t kCoresPerNode = 48;
constexpr uint64_t kMemoryPerNode = uint64_t{192} << 30;
constexpr uint64_t kBasePage = 4096;

placement::HostReport MakeHost(uint32_t number, uint32_t vcpus_per_core) {
  placement::HostReport host;
  host.name = std::to_string(number);
  host.name.insert(0, 8 - std::min<size_t>(8, host.name.size()), '0');
  host.uuid = Uuid::FromName(Uuid{}, host.name);
  host.can_run_guests = true;
  uint32_t cpus = kCoresPerNode * vcpus_per_core;
  for (uint32_t node = 0; node < kNodes; ++node) {
    placement::Cell cell;
    cell.id = node;
    cell.socket = node;
    cell.shared_cpus = CpuSet::Range(node * cpus, (node + 1) * cpus - 1);
    cell.memory_bytes = kMemoryPerNode;
    cell.pages = {{kBasePage, kMemoryPerNode / kBasePage, 0}};
    host.cells.push_back(std::move(cell));
  }
  return host;
}

// On `cells` nodes, as evenly as whole vCPUs and pages allow.
RequestSpec SpecOf(const TraceVm& vm, uint32_t cells) {
  RequestSpec spec;
  spec.vcpus = vm.vcpus;
  spec.memory_bytes = vm.memory_bytes;
  uint32_t vcpu = 0;
  uint64_t pages = vm.memory_bytes / kBasePage;
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    uint32_t count = vm.vcpus / cells + (i < vm.vcpus % cells ? 1 : 0);
    cell.vcpus = CpuSet::Range(vcpu, vcpu + count - 1);
    vcpu += count;
    cell.memory_bytes = (pages / cells + (i < pages % cells ? 1 : 0)) * kBasePage;
    spec.cells.push_back(std::move(cell));
  }
  return spec;
}

HostPolicy PolicyOf(const VmTrace& trace, const VmReplayOptions& options) {
  HostPolicy policy;
  if (options.objective == Objective::kFullest) return policy;
  HostScale node{uint64_t{kCoresPerNode} * trace.vcpus_per_core, kMemoryPerNode, 1};
  policy.weighers = WeigherSet::Of(MakeDeviceFragmentationWeigher(std::make_shared<FragmentationObjective>(
      std::vector<ScarceDevices>(), node, DeviceTypes::OfProcess())));
  return policy;
}

class VmReplay {
 public:
  VmReplay(const VmTrace& trace, const VmReplayOptions& options)
      : trace_(trace),
        options_(options),
        policy_(PolicyOf(trace, options)),
        cache_(4096, UINT64_MAX, &policy_) {
    for (uint32_t i = 0; i < options.hosts; ++i) {
      PlacementEvent event;
      event.kind = PlacementEvent::Kind::kHostChanged;
      event.report = MakeHost(i, trace.vcpus_per_core);
      event.host = event.report->uuid;
      event.generation = 1;
      mirror_.Apply(std::move(event));
    }
    capacity_vcpus_ = double(kNodes) * kCoresPerNode * trace.vcpus_per_core * options.hosts;
    capacity_memory_ = double(kNodes) * static_cast<double>(kMemoryPerNode) * options.hosts;
  }

  VmReplayResult Run() {
    size_t first = 0;
    while (first < trace_.vms.size()) {
      size_t last = first + 1;
      while (last < trace_.vms.size() && trace_.vms[last].batch == trace_.vms[first].batch) ++last;
      Leave(trace_.vms[first].start);
      Arrive(first, last);
      first = last;
    }
    out_.decision = Summarize(decisions_);
    out_.batch = Summarize(batches_);
    return out_;
  }

 private:
  struct LeavesLater {
    bool operator()(const std::pair<double, size_t>& a, const std::pair<double, size_t>& b) const {
      return a > b;
    }
  };

  Fill Now() const {
    return {100 * static_cast<double>(vcpus_) / capacity_vcpus_,
            100 * static_cast<double>(memory_) / capacity_memory_};
  }

  void Arrive(size_t first, size_t last) {
    uint64_t start = ThreadCpuNs();
    std::vector<size_t> placed;
    bool all = true;
    for (size_t vm = first; vm < last && all; ++vm) {
      all = Place(vm);
      if (all) placed.push_back(vm);
    }
    if (!all) {
      if (!out_.first_refusal) out_.first_refusal = refusal_;
      for (size_t vm : placed) Remove(vm);
    } else {
      for (size_t vm : placed) leaving_.emplace(trace_.vms[vm].end, vm);
    }
    uint64_t size = last - first;
    if (size > 1)
      batches_.push_back(static_cast<uint32_t>(std::min<uint64_t>(ThreadCpuNs() - start, UINT32_MAX)));
    out_.arrived += size;
    out_.refused += all ? 0 : size;
    out_.largest_batch = std::max(out_.largest_batch, size);
    if (Fill now = Now(); now.cpu_percent > out_.peak.cpu_percent) out_.peak = now;
  }

  bool Place(size_t number) {
    const TraceVm& vm = trace_.vms[number];
    std::shared_ptr<const Fleet> fleet = mirror_.Snapshot();
    uint64_t start = ThreadCpuNs();
    FitOptions quiet;
    quiet.explain = false;
    for (uint32_t cells = 1; cells <= std::min(kNodes, vm.vcpus); ++cells) {
      RequestSpec spec = SpecOf(vm, cells);
      HostViewPtr host = cache_.Best(fleet, spec).host;
      if (host == nullptr) continue;
      FitResult fit = Fit(host->fit, spec, quiet);
      decisions_.push_back(static_cast<uint32_t>(std::min<uint64_t>(ThreadCpuNs() - start, UINT32_MAX)));
      placement::Claim claim;
      claim.consumer = Uuid::FromName(Uuid{}, std::to_string(number));
      claim.name = std::to_string(number);
      claim.host = host->report->uuid;
      BindAssignment(spec, fit.assignment, claim);
      if (fit.verdict != Verdict::kFits || !placement::CheckClaim(*host->report, host->usage, claim).ok())
        ++out_.faults;
      out_.split += cells > 1 ? 1 : 0;
      vcpus_ += vm.vcpus;
      memory_ += vm.memory_bytes;
      fleet.reset();
      uint64_t generation = host->generation;
      host.reset();
      mirror_.ApplyOwnClaim(claim, generation, generation + 1);
      generations_[claim.host] = generation + 1;
      running_.emplace(number, std::move(claim));
      return true;
    }
    decisions_.push_back(static_cast<uint32_t>(std::min<uint64_t>(ThreadCpuNs() - start, UINT32_MAX)));
    refusal_ = Now();
    return false;
  }

  void Leave(double until) {
    while (!leaving_.empty() && leaving_.top().first <= until) {
      Remove(leaving_.top().second);
      leaving_.pop();
    }
  }

  void Remove(size_t number) {
    auto running = running_.find(number);
    PlacementEvent gone;
    gone.kind = PlacementEvent::Kind::kClaimDeleted;
    gone.host = running->second.host;
    gone.generation = ++generations_[gone.host];
    gone.claim = std::move(running->second);
    running_.erase(running);
    vcpus_ -= trace_.vms[number].vcpus;
    memory_ -= trace_.vms[number].memory_bytes;
    mirror_.Apply(std::move(gone));
  }

  const VmTrace& trace_;
  const VmReplayOptions options_;
  const HostPolicy policy_;
  CandidateCache cache_;
  Mirror mirror_;
  double capacity_vcpus_ = 0;
  double capacity_memory_ = 0;
  uint64_t vcpus_ = 0;
  uint64_t memory_ = 0;
  Fill refusal_;  // when the last VM found no place
  std::map<size_t, placement::Claim> running_;
  std::map<Uuid, uint64_t> generations_;
  std::priority_queue<std::pair<double, size_t>, std::vector<std::pair<double, size_t>>, LeavesLater>
      leaving_;
  std::vector<uint32_t> decisions_;
  std::vector<uint32_t> batches_;
  VmReplayResult out_;
};

}  // namespace

VmReplayResult ReplayVmTrace(const VmTrace& trace, const VmReplayOptions& options) {
  return VmReplay(trace, options).Run();
}

}  // namespace berth::scheduler::replay
