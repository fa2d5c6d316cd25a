// Questions about a fleet: reasons of every host, changes that would help, how many more fit. Hosts of 2
// nodes, every fifth with 8 GPUs and 8 NICs of 4 VFs, half full of instances of many sizes. Prints one JSON
// line for each.
//
//   explain_bench [HOSTS]     default: 10000
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "scheduler/explain/capacity.h"
#include "scheduler/explain/changes.h"
#include "scheduler/explain/reasons.h"
#include "tests/scheduler/explain/small_fleet.h"

namespace {

using namespace berth::scheduler;  // NOLINT(google-build-using-namespace)

double CpuMs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

void Fill(SmallFleet& fleet, int hosts) {
  std::mt19937 random(1);
  AliasTable aliases = MakeAliases();
  for (int i = 0; i < hosts; ++i) {
    fleet.AddHost("host" + std::to_string(100000 + i), 2, 32, 98304);
    for (uint32_t node = 0; i % 5 == 0 && node < 2; ++node) {
      fleet.AddDevices(4, "2330", node);
      for (int nic = 0; nic < 4; ++nic) fleet.AddVfs(4, "154c", node);
    }
    for (int vm = static_cast<int>(random() % 6); vm > 0; --vm) {
      static constexpr uint32_t kSizes[] = {2, 4, 8, 12};
      uint32_t vcpus = kSizes[random() % 4];
      Properties specs = {{"hw:cpu_policy", "dedicated"}};
      if (i % 5 == 0 && random() % 2 == 0) specs["pci_passthrough:alias"] = "gpu:1,vf:1";
      RequestSpec spec = Resolve(MakeWish(vcpus, vcpus * 2048, specs), aliases);
      fleet.TryPlaceOnLast("vm", spec);
    }
  }
}

void Run(const KnownHosts& hosts, const char* name, const Wish& wish) {
  AliasTable aliases = MakeAliases();
  RequestSpec spec = Resolve(wish, aliases);
  Reasons reasons = FindReasons(hosts, spec);  // warms
  constexpr int kTimes = 20;
  double start = CpuMs();
  for (int i = 0; i < kTimes; ++i) reasons = FindReasons(hosts, spec);
  double reasons_ms = (CpuMs() - start) / kTimes;
  start = CpuMs();
  Changes changes =
      FindChanges(hosts, wish, spec, aliases, reasons, [](const std::string& /*flavor*/) { return nullptr; });
  double changes_ms = CpuMs() - start;
  start = CpuMs();
  RoomCounter counter(spec);
  uint64_t more = 0;
  for (const KnownHost& host : hosts) more += counter.Count(host).instances;
  double capacity_ms = CpuMs() - start;
  std::printf(
      "{\"bench\":\"explain\",\"request\":\"%s\",\"hosts\":%zu,\"fitting\":%u,\"undecided\":%u,"
      "\"reasons_ms\":%.3f,\"changes\":%zu,\"changes_ms\":%.1f,\"hosts_not_tried\":%u,\"capacity\":%lu,"
      "\"capacity_ms\":%.1f,\"states\":%lu}\n",
      name, hosts.size(), reasons.fitting, reasons.undecided, reasons_ms, changes.changes.size(), changes_ms,
      changes.hosts_not_tried, static_cast<unsigned long>(more), capacity_ms,
      static_cast<unsigned long>(counter.solved()));
}

}  // namespace

int main(int argc, char** argv) {
  SmallFleet fleet;
  Fill(fleet, argc > 1 ? std::max(1, std::atoi(argv[1])) : 10000);
  KnownHosts hosts = fleet.Known();
  Run(hosts, "too many CPUs", MakeWish(40, 4096, {{"hw:cpu_policy", "dedicated"}}));
  Run(hosts, "too many GPUs beside one node",
      MakeWish(8, 4096,
               {{"hw:cpu_policy", "dedicated"},
                {"hw:pci_numa_affinity_policy", "required"},
                {"pci_passthrough:alias", "gpu:6,vf:6"}}));
  Run(hosts, "two cells, GPUs and VFs",
      MakeWish(
          64, 131072,
          {{"hw:cpu_policy", "dedicated"}, {"hw:numa_nodes", "2"}, {"pci_passthrough:alias", "gpu:8,vf:9"}}));
  Run(hosts, "too much memory, floating", MakeWish(8, 400000, {}));
  Run(hosts, "small pinned", MakeWish(4, 8192, {{"hw:cpu_policy", "dedicated"}}));
  Run(hosts, "GPU and VF",
      MakeWish(4, 8192, {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:1,vf:1"}}));
  return 0;
}
