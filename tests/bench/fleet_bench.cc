// Decisions over a fleet: hosts of 2 nodes, every fifth with 8 GPUs and 8 NICs of 8 VFs each; requests of
// many classes; each decision is claimed in the fleet's mirror before the next, and every second one makes an
// earlier instance go. "cold" is the first question of a class, of the empty fleet and of the loaded one.
// Prints one JSON line per fleet: CPU time, beside goals and what others publish. "with_claims_per_s" counts
// what a decision and the changes of the mirror after it take together. "choices" is a checksum of all that
// was chosen: a change that only makes the engine faster leaves it as it is.
//
//   fleet_bench [HOSTS...]     default: 10000 100000
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/fit/bind.h"
#include "scheduler/service/decide.h"
#include "scheduler/service/host_policy.h"
#include "tests/bench/fleet_hosts.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::scheduler;  // NOLINT(google-build-using-namespace)
using bench::kGib;
using bench::MakeFleetHost;

// Time of this thread on a CPU: what a decision costs, whoever else uses the machine.
struct Clock {
  using duration = std::chrono::nanoseconds;
  static duration now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + duration(time.tv_nsec);
  }
};

// What one look at the clock costs, which is a system call: each time below is without it.
double ClockUs() {
  std::vector<Clock::duration> gaps;
  for (int i = 0; i < 1001; ++i) {
    const auto start = Clock::now();
    gaps.push_back(Clock::now() - start);
  }
  std::nth_element(gaps.begin(), gaps.begin() + 500, gaps.end());
  return std::chrono::duration<double, std::micro>(gaps[500]).count();
}

RequestSpec Guest(uint32_t cells, uint32_t vcpus, uint64_t gib, CpuPolicy policy) {
  RequestSpec spec;
  spec.cpu_policy = policy;
  spec.vcpus = cells == 0 ? vcpus : cells * vcpus;
  spec.memory_bytes = gib * kGib * std::max(1u, cells);
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    cell.vcpus = CpuSet::Range(i * vcpus, i * vcpus + vcpus - 1);
    if (policy == CpuPolicy::kDedicated) cell.pinned = cell.vcpus;
    cell.memory_bytes = gib * kGib;
    spec.cells.push_back(std::move(cell));
  }
  return spec;
}

PciRequest Ask(const char* vendor, uint32_t count, bool port) {
  PciRequest request;
  request.name = vendor;
  request.from_port = port;
  request.count = count;
  request.policy = AffinityPolicy::kRequired;
  DeviceMatch match;
  if (port) {
    match.network = NetworkMatch{"physnet0"};
    match.remote_managed = false;
  } else {
    match.vendor_id = vendor;
  }
  request.alternatives = {match};
  return request;
}

std::vector<RequestSpec> Classes() {
  std::vector<RequestSpec> out;
  for (uint32_t vcpus : {1, 2, 4, 8}) {
    for (uint64_t gib : {2, 4, 8, 16}) {
      out.push_back(Guest(0, vcpus, gib, CpuPolicy::kShared));
      out.push_back(Guest(1, vcpus, gib, CpuPolicy::kDedicated));
      out.push_back(Guest(2, vcpus, gib, CpuPolicy::kDedicated));
      out.push_back(Guest(1, vcpus, gib, CpuPolicy::kDedicated));
      out.back().pages.kind = PageRequest::Kind::kLarge;
    }
  }
  for (uint32_t gpus : {1, 2, 4, 8}) {
    RequestSpec spec = Guest(gpus > 2 ? 2 : 1, 4, 8, CpuPolicy::kDedicated);
    spec.pci = {Ask("10de", gpus, false), Ask("port", 1, true)};
    out.push_back(spec);
    spec.pci = {Ask("port", 2, true)};
    out.push_back(spec);
  }
  return out;
}

double Us(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double At(std::vector<double>& times, double share) {
  std::sort(times.begin(), times.end());
  return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
}

// FNV-1a over hosts, CPUs, pages and devices of the choices.
class Checksum {
 public:
  void Add(const Choice& choice) {
    for (uint8_t byte : choice.host.bytes) Mix(byte);
    for (const CellAssignment& cell : choice.assignment.cells) {
      Mix(cell.host);
      Mix(cell.page_size_bytes);
      for (auto [guest, host] : cell.pinning) Mix(uint64_t{guest} << 32 | host);
    }
    for (const DeviceAssignment& device : choice.assignment.devices) Mix(device.address.ToKey());
  }
  uint64_t value() const { return value_; }

 private:
  void Mix(uint64_t word) { value_ = (value_ ^ word) * 0x100000001b3; }
  uint64_t value_ = 0xcbf29ce484222325;
};

void Bench(uint32_t hosts) {
  Aggregate aggregate;
  aggregate.name = "a";
  aggregate.hosts = {"host1*"};
  aggregate.metadata = {{"filter_tenant_id", "other"}};
  Mirror mirror({std::make_shared<FactsTable>(std::vector<Aggregate>{aggregate}), 60, 3600});
  for (uint32_t i = 0; i < hosts; ++i) {
    PlacementEvent event;
    event.kind = PlacementEvent::Kind::kHostChanged;
    event.report = MakeFleetHost(i, true);
    event.host = event.report->uuid;
    event.generation = 1;
    mirror.Apply(std::move(event));
  }
  std::vector<RequestSpec> classes = Classes();
  // Every filter, with limits that make those work that look at each host.
  auto policy = ParsePolicy(
      "max_instances_per_host: 1000\nbuild_backoff: {first_seconds: 60}\n"
      "aggregates: [{name: a, hosts: [\"host1*\"], metadata: {filter_tenant_id: other}}]",
      "bench");
  if (!policy.has_value()) std::abort();
  CandidateCache cache(512, 10'000, &*policy);
  std::vector<double> cold;
  for (const RequestSpec& spec : classes) {
    auto start = Clock::now();
    DecideByClass(cache, mirror.Snapshot(), spec, &*policy);
    cold.push_back(Us(Clock::now() - start));
  }
  std::mt19937 random(1);
  const double clock_us = ClockUs();
  std::vector<double> warm;
  std::vector<double> claims;
  double changes = 0;  // of the mirror, in all
  Checksum choices;
  std::vector<placement::Claim> running;
  std::map<Uuid, uint64_t> generations;  // of hosts that were chosen
  uint32_t decisions = 20000;
  for (uint32_t i = 0; i < decisions; ++i) {
    const RequestSpec& spec = classes[random() % classes.size()];
    auto fleet = mirror.Snapshot();
    auto start = Clock::now();
    Decision decision = DecideByClass(cache, fleet, spec, &*policy);
    auto decided = Clock::now();
    warm.push_back(Us(decided - start) - clock_us);
    if (!decision.choice) continue;
    choices.Add(*decision.choice);
    placement::Claim claim;
    claim.consumer = Uuid::FromName(Uuid{}, "vm" + std::to_string(i));
    claim.name = "vm" + std::to_string(i);
    claim.host = decision.choice->host;
    BindAssignment(spec, decision.choice->assignment, claim);
    fleet.reset();
    start = Clock::now();
    mirror.ApplyOwnClaim(claim, decision.choice->generation, decision.choice->generation + 1);
    claims.push_back(Us(Clock::now() - start) - clock_us);
    changes += claims.back();
    generations[claim.host] = decision.choice->generation + 1;
    running.push_back(std::move(claim));
    if (i % 2 != 0) continue;
    std::swap(running[random() % running.size()], running.back());
    PlacementEvent gone;
    gone.kind = PlacementEvent::Kind::kClaimDeleted;
    gone.host = running.back().host;
    gone.generation = ++generations[gone.host];
    gone.claim = std::move(running.back());
    running.pop_back();
    start = Clock::now();
    mirror.Apply(std::move(gone));
    changes += Us(Clock::now() - start) - clock_us;
  }
  std::vector<double> loaded;
  for (const RequestSpec& spec : classes) {
    CandidateCache fresh(512, 10'000, &*policy);
    auto fleet = mirror.Snapshot();
    auto start = Clock::now();
    DecideByClass(fresh, fleet, spec, &*policy);
    loaded.push_back(Us(Clock::now() - start));
  }
  double sum = 0;
  for (double one : warm) sum += one;
  bool large = hosts > 10000;
  std::printf(
      "{\"bench\":\"fleet\",\"hosts\":%u,\"classes\":%zu,\"decisions\":%u,\"claimed\":%zu,"
      "\"cold_p50_us\":%.1f,\"cold_max_us\":%.1f,\"loaded_cold_p50_us\":%.1f,\"loaded_cold_max_us\":%.1f,"
      "\"warm_p50_us\":%.2f,\"warm_p99_us\":%.2f,\"decisions_per_s\":%.0f,"
      "\"mirror_claim_p50_us\":%.2f,\"mirror_claim_p99_us\":%.2f,\"with_claims_per_s\":%.0f,"
      "\"clock_us\":%.2f,\"choices\":\"%016llx\",",
      hosts, classes.size(), decisions, claims.size(), At(cold, 0.5), At(cold, 1), At(loaded, 0.5),
      At(loaded, 1), At(warm, 0.5), At(warm, 0.99), decisions * 1e6 / sum, At(claims, 0.5), At(claims, 0.99),
      decisions * 1e6 / (sum + changes), clock_us, static_cast<unsigned long long>(choices.value()));
  // Whole services on other hardware: published figures, not measured here.
  std::printf(
      "\"goals\":{\"warm_p50_us\":5,\"warm_p99_us\":%d,\"decisions_per_s\":%d,\"cold_us_at_100000\":2000},"
      "\"published\":{\"kamino_mean_us\":146300,\"kamino_p90_us\":333500,\"goedel_per_s\":1000,"
      "\"nomad_c1m_per_s\":3750,\"kube_scheduler_per_s\":810}}\n",
      large ? 250 : 100, large ? 150000 : 200000);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<uint32_t> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(static_cast<uint32_t>(std::max(1, std::atoi(argv[i]))));
  if (sizes.empty()) sizes = {10000, 100000};
  for (uint32_t hosts : sizes) Bench(hosts);
  return 0;
}
