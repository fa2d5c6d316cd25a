// Discovery of a host with 16 PFs and 4,096 VFs, as files in memory. The goal of the specification: <= 1 s.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <string>

#include "compute-agent/inventory/discover.h"
#include "tests/fakes/fake_sysfs.h"

namespace berth::agent {
namespace {

void DiscoverManyVfs(benchmark::State& state) {
  fakes::FakeSysfs host;
  host.Iommu();
  host.Node(0).Socket(0).Cpus("0-63,128-191").ThreadsPerCore(2).Memory(GiB(512)).HugePages(GiB(1), 400, 400);
  host.Node(1)
      .Socket(1)
      .Cpus("64-127,192-255")
      .ThreadsPerCore(2)
      .Memory(GiB(512))
      .HugePages(GiB(1), 400, 400);
  for (int i = 0; i < state.range(0) / 256; ++i) {
    host.Device(std::to_string(1000 + i) + ":01:00.0")
        .Id("8086", "1572")
        .OnNode(static_cast<uint32_t>(i % 2))
        .Driver("i40e")
        .Vfs(256, "154c", "vfio-pci", 256, 1);
  }
  Root root = host.Open();
  size_t devices = 0;
  for (auto _ : state) {
    HostInventory inventory = Discover(root);
    devices = inventory.pci_devices.size();
    benchmark::DoNotOptimize(inventory);
  }
  state.counters["devices"] = static_cast<double>(devices);
  // Of the whole program, the made-up host included: the goal of the specification is <= 50 MiB.
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0)
    state.counters["peak_mib"] = static_cast<double>(usage.ru_maxrss) / 1024;
}
BENCHMARK(DiscoverManyVfs)->Arg(256)->Arg(4096)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace berth::agent
