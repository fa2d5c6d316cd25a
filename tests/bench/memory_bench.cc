// What the scheduler's mirror takes: hosts of 2 nodes, every fifth with 8 GPUs, each with so many running
// instances, a third of them pinned to CPUs; then classes that were asked for; then every instance has given
// way to another one, all over the fleet. Prints one JSON line: resident bytes of each, and the same for
// 100,000 hosts with 5,000,000 allocations. An allocation is one instance's claim on one host.
//
//   memory_bench [HOSTS [INSTANCES_PER_HOST]]     default: 10000 50
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "scheduler/fit/fit_state.h"
#include "scheduler/service/candidates.h"
#include "scheduler/service/fleet.h"
#include "tests/bench/fleet_hosts.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::scheduler;  // NOLINT(google-build-using-namespace)
using bench::kGib;
using bench::MakeFleetHost;

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

placement::Claim MakeClaim(const Uuid& host, uint64_t number, uint32_t within) {
  placement::Claim claim;
  claim.name = "instance-" + std::to_string(number);
  claim.consumer = Uuid::FromName(Uuid{}, claim.name);
  claim.host = host;
  claim.spec.flavor = "m1.small";
  claim.spec.vcpus = 1;
  // 512 to 1,520 MiB, by chance, so that hosts are in states of their own.
  const uint64_t memory = kGib / 2 + std::hash<Uuid>()(claim.consumer) % 64 * (uint64_t{16} << 20);
  claim.spec.memory_bytes = memory;
  claim.created_at_ms = 1'790'000'000'000 + number;
  claim.status = {placement::InstanceState::kRunning, "", claim.created_at_ms + 2000};
  if (within % 3 != 0 || within / 3 >= 64) return claim;
  uint32_t node = within / 3 % 2;
  placement::CellBinding cell;
  cell.host_cell = node;
  cell.vcpus = CpuSet{0};
  cell.pinning = {{0, node * 48 + 16 + within / 6}};
  cell.memory_bytes = memory;
  claim.cells.push_back(std::move(cell));
  return claim;
}

PlacementEvent ClaimEvent(PlacementEvent::Kind kind, uint64_t generation, placement::Claim claim) {
  PlacementEvent event;
  event.kind = kind;
  event.host = claim.host;
  event.generation = generation;
  event.claim = std::move(claim);
  return event;
}

// Replaces each instance by another one in its place. Far apart in the fleet, as users come and go.
void ReplaceAll(Mirror& mirror, const std::vector<Uuid>& uuids, uint32_t each) {
  constexpr uint64_t kStep = 1'000'000'007;  // prime, and larger than any fleet: all are visited once
  const uint64_t count = uint64_t{each} * uuids.size();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t number = i * kStep % count;
    const Uuid& host = uuids[number / each];
    const auto within = static_cast<uint32_t>(number % each);
    mirror.Apply(ClaimEvent(PlacementEvent::Kind::kClaimDeleted, 2 + each, MakeClaim(host, number, within)));
    mirror.Apply(
        ClaimEvent(PlacementEvent::Kind::kClaimChanged, 2 + each, MakeClaim(host, count + number, within)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto number = [&](int at, uint32_t otherwise) {
    return argc > at ? static_cast<uint32_t>(std::max(1, std::atoi(argv[at]))) : otherwise;
  };
  uint32_t hosts = number(1, 10000);
  uint32_t each = number(2, 50);
  uint64_t empty = ResidentBytes();
  Mirror mirror;
  std::vector<Uuid> uuids;
  for (uint32_t i = 0; i < hosts; ++i) {
    PlacementEvent event;
    event.kind = PlacementEvent::Kind::kHostChanged;
    event.report = MakeFleetHost(i);
    event.host = event.report->uuid;
    event.generation = 1;
    uuids.push_back(event.host);
    mirror.Apply(std::move(event));
  }
  uint64_t with_hosts = ResidentBytes();
  for (uint32_t i = 0; i < hosts; ++i) {
    for (uint32_t k = 0; k < each; ++k) {
      mirror.Apply(ClaimEvent(PlacementEvent::Kind::kClaimChanged, 2 + k,
                              MakeClaim(uuids[i], uint64_t{i} * each + k, k)));
    }
  }
  uint64_t with_claims = ResidentBytes();
  CandidateCache cache;
  constexpr uint32_t kClasses = 200;
  for (uint32_t i = 0; i < kClasses; ++i) {
    RequestSpec spec;
    spec.vcpus = 1 + i;
    spec.memory_bytes = kGib;
    cache.Best(mirror.Snapshot(), spec);
  }
  uint64_t with_classes = ResidentBytes();
  ReplaceAll(mirror, uuids, each);
  uint64_t replaced = ResidentBytes();
  double per_host = static_cast<double>(with_hosts - empty) / hosts;
  double per_claim = static_cast<double>(with_claims - with_hosts) / hosts / each;
  double per_class = static_cast<double>(with_classes - with_claims) / hosts / kClasses;
  std::printf(
      "{\"bench\":\"memory\",\"hosts\":%u,\"instances\":%llu,\"bytes_per_host\":%.0f,\"states\":%zu,\"bytes_"
      "per_instance\":%"
      ".0f,"
      "\"bytes_per_host_and_class\":%.2f,\"resident_mb\":%.0f,\"replaced_resident_mb\":%.0f,\"mb_for_100000_"
      "hosts_5000000_instances\":%.0f,"
      "\"goals\":{\"mb_for_100000_hosts_5000000_instances\":1200}}\n",
      hosts, static_cast<unsigned long long>(uint64_t{hosts} * each), per_host, FitStates::OfProcess().size(),
      per_claim, per_class, static_cast<double>(with_classes) / 1e6, static_cast<double>(replaced) / 1e6,
      (per_host * 1e5 + per_claim * 5e6 + per_class * 1e5 * kClasses) / 1e6);
  return 0;
}
