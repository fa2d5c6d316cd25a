// Plans over a fleet: hosts of 2 nodes with 32 CPUs each, every fifth with 8 GPUs, filled with instances of 1
// to 16 pinned vCPUs until nothing more fits, then one in ten deleted. Prints one JSON line for each
// question: CPU time, moves, verdict.
//
//   rebalance_bench [HOSTS]     default: 1000
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>

#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"
#include "scheduler/rebalance/check_plan.h"
#include "scheduler/rebalance/plan.h"
#include "tests/bench/fleet_hosts.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::scheduler;  // NOLINT(google-build-using-namespace)
using bench::kGib;

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

RequestSpec Guest(uint32_t cells, uint32_t vcpus, uint32_t gpus) {
  RequestSpec spec;
  spec.cpu_policy = CpuPolicy::kDedicated;
  spec.vcpus = cells * vcpus;
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    cell.vcpus = cell.pinned = CpuSet::Range(i * vcpus, i * vcpus + vcpus - 1);
    cell.memory_bytes = vcpus * 2 * kGib;
    spec.memory_bytes += cell.memory_bytes;
    spec.cells.push_back(std::move(cell));
  }
  if (gpus == 0) return spec;
  PciRequest request;
  request.name = "gpu";
  request.count = gpus;
  request.policy = AffinityPolicy::kRequired;
  DeviceMatch match;
  match.vendor_id = "10de";
  request.alternatives = {match};
  spec.pci = {request};
  return spec;
}

struct Host {
  placement::HostReport report;
  placement::HostUsage usage;
  KnownHost::Claims claims;
  FitHost fit;
};

class BenchFleet {
 public:
  explicit BenchFleet(uint32_t hosts) {
    std::mt19937 random(1);
    for (uint32_t number = 0; number < hosts; ++number) Add(number);
    uint32_t vm = 0;
    for (Host& host : hosts_) {
      for (int misses = 0; misses < 4;) {
        bool gpu = !host.report.devices.empty() && random() % 2 == 0;
        RequestSpec spec = Guest(1, gpu ? 4 : 1 + random() % 16, gpu ? 1 : 0);
        misses += Place(host, spec, "vm" + std::to_string(vm++)) ? 0 : 1;
      }
      for (auto it = host.claims.begin(); it != host.claims.end();) {
        bool goes = random() % 10 == 0;
        if (goes) placement::RemoveClaim(*it->second, host.usage);
        it = goes ? host.claims.erase(it) : std::next(it);
      }
      host.fit = FromHost(host.report, host.usage);
      known_.push_back({&host.report, &host.usage, &host.fit, &host.claims});
      instances_ += host.claims.size();
    }
  }
  const KnownHosts& known() const { return known_; }
  size_t instances() const { return instances_; }

 private:
  void Add(uint32_t number) {
    placement::HostReport host;
    char name[16];
    std::snprintf(name, sizeof name, "host%06u", number);
    host.name = name;
    host.uuid = Uuid::FromName(Uuid{}, host.name);
    host.can_run_guests = true;
    for (uint32_t node = 0; node < 2; ++node) {
      placement::Cell cell;
      cell.id = cell.socket.emplace(node);
      cell.dedicated_cpus = CpuSet::Range(node * 32, node * 32 + 31);
      for (uint32_t cpu = node * 32; cpu < node * 32 + 32; cpu += 2)
        cell.siblings.push_back(CpuSet{cpu, cpu + 1});
      cell.memory_bytes = 128 * kGib;
      cell.pages = {{4096, 128 * kGib / 4096, 0}};
      host.cells.push_back(std::move(cell));
    }
    if (number % 5 == 0) bench::AddGpus(host);
    hosts_.push_back({std::move(host), {}, {}, {}});
    hosts_.back().fit = FromHost(hosts_.back().report, {});
  }

  static bool Place(Host& host, const RequestSpec& spec, const std::string& name) {
    FitOptions options;
    options.explain = false;
    FitResult fit = Fit(host.fit, spec, options);
    if (fit.verdict != Verdict::kFits) return false;
    placement::Claim claim;
    claim.consumer = Uuid::FromName(Uuid{}, name);
    claim.name = name;
    claim.host = host.report.uuid;
    BindAssignment(spec, fit.assignment, claim);
    placement::AddClaim(claim, host.usage);
    host.claims[claim.consumer] = std::make_shared<const placement::Claim>(std::move(claim));
    host.fit = FromHost(host.report, host.usage);
    return true;
  }

  std::deque<Host> hosts_;
  KnownHosts known_;
  size_t instances_ = 0;
};

void Report(const char* question, const BenchFleet& fleet, const RebalancePlan& plan, double seconds,
            const Status& check) {
  const char* verdict = plan.verdict == PlanVerdict::kDone ? "done"
                        : plan.verdict == PlanVerdict::kNo ? "impossible"
                                                           : "undecided";
  bool done = plan.verdict == PlanVerdict::kDone;
  std::printf(
      "{\"bench\":\"rebalance\",\"question\":\"%s\",\"hosts\":%zu,\"instances\":%zu,\"verdict\":\"%s\","
      "\"moves\":%zu,\"fewest\":%s,\"memory_gib\":%.0f,\"tries\":%llu,\"cpu_s\":%.3f,\"checked\":%s,"
      "\"goals\":{\"cpu_s\":5}}\n",
      question, fleet.known().size(), fleet.instances(), verdict, plan.moves.size(),
      plan.fewest ? "true" : "false", static_cast<double>(plan.cost.memory_bytes) / kGib,
      static_cast<unsigned long long>(plan.tries), seconds, done ? (check.ok() ? "true" : "false") : "null");
}

}  // namespace

int main(int argc, char** argv) {
  BenchFleet fleet(argc > 1 ? static_cast<uint32_t>(std::max(1, std::atoi(argv[1]))) : 1000);
  auto flavors = [](const std::string&) -> const RequestSpec* { return nullptr; };
  PlanOptions options;
  auto room = [&](const char* question, const RequestSpec& spec) {
    double start = CpuSeconds();
    RebalancePlan plan = PlanRoom(fleet.known(), spec, flavors, options);
    double spent = CpuSeconds() - start;
    Report(question, fleet, plan, spent, CheckRoomPlan(fleet.known(), plan, options));
  };
  room("one node of 32 CPUs", Guest(1, 32, 0));
  room("two nodes of 32 CPUs", Guest(2, 32, 0));
  room("4 GPUs beside 8 CPUs", Guest(1, 8, 4));
  room("8 GPUs on two nodes", Guest(2, 8, 8));
  room("more CPUs than a node has", Guest(1, 33, 0));
  options.max_moves = 100;
  double start = CpuSeconds();
  RebalancePlan plan = PlanDrain(fleet.known(), 1 % fleet.known().size(), flavors, options);
  double spent = CpuSeconds() - start;
  Report("drain a host", fleet, plan, spent,
         CheckDrainPlan(fleet.known(), 1 % fleet.known().size(), plan, options));
  return 0;
}
