// The exact fit of one host. Names follow the anchor's table: nodes of the host, cells of the guest, devices.
#include <benchmark/benchmark.h>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

// 32 dedicated CPUs in pairs of threads per node; a GPU, and a NIC with `vfs` VFs, on each node.
FitHost MakeHost(uint32_t nodes, uint32_t vfs) {
  FitHost host;
  for (uint32_t node = 0; node < nodes; ++node) {
    FitCell cell;
    cell.id = node;
    cell.socket = node / 2;
    cell.shared_cpus = CpuSet::Range(node * 40, node * 40 + 7);
    cell.free_dedicated = CpuSet::Range(node * 40 + 8, node * 40 + 39);
    for (uint32_t cpu = node * 40; cpu < node * 40 + 40; cpu += 2)
      cell.siblings.push_back(CpuSet{cpu, cpu + 1});
    cell.memory_bytes = 128 * kGib;
    cell.pages = {{4096, 128 * kGib / 4096, 128 * kGib / 4096}, {2 << 20, 32768, 32768}};
    host.cells.push_back(std::move(cell));
    FitDevice gpu;
    gpu.address = {0, static_cast<uint8_t>(0x80 + node), 0, 0};
    gpu.vendor_id = "10de";
    gpu.product_id = "1db4";
    gpu.numa_node = node;
    host.devices.push_back(gpu);
    for (uint32_t i = 0; i < vfs; ++i) {
      FitDevice vf;
      vf.address = {0, static_cast<uint8_t>(0x10 + node), static_cast<uint8_t>(2 + i / 8),
                    static_cast<uint8_t>(i % 8)};
      vf.kind = DeviceKind::kVf;
      vf.vendor_id = "8086";
      vf.product_id = "154c";
      vf.numa_node = node;
      vf.parent = PciAddress{0, static_cast<uint8_t>(0x10 + node), 0, 0};
      vf.remote_managed = false;
      host.devices.push_back(std::move(vf));
    }
  }
  Prepare(host);
  return host;
}

RequestSpec Guest(uint32_t cells, uint32_t vcpus) {
  RequestSpec spec;
  spec.cpu_policy = CpuPolicy::kDedicated;
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    cell.vcpus = cell.pinned = CpuSet::Range(i * vcpus, i * vcpus + vcpus - 1);
    cell.memory_bytes = 4 * kGib;
    spec.cells.push_back(std::move(cell));
    spec.vcpus += vcpus;
    spec.memory_bytes += 4 * kGib;
  }
  return spec;
}

PciRequest Ask(const char* vendor, const char* product, uint32_t count) {
  PciRequest request;
  request.name = product;
  request.count = count;
  request.policy = AffinityPolicy::kRequired;
  DeviceMatch match;
  match.vendor_id = vendor;
  match.product_id = product;
  request.alternatives = {match};
  return request;
}

void Run(benchmark::State& state, const FitHost& host, const RequestSpec& spec, Verdict expected) {
  FitOptions options;
  options.explain = false;
  for (auto _ : state) {
    FitResult result = Fit(host, spec, options);
    if (result.verdict != expected) state.SkipWithError("wrong verdict");
    benchmark::DoNotOptimize(result);
  }
}

void Floating2Nodes(benchmark::State& state) {
  RequestSpec spec;
  spec.vcpus = 2;
  spec.memory_bytes = kGib;
  Run(state, MakeHost(2, 8), spec, Verdict::kFits);
}
BENCHMARK(Floating2Nodes);

void Pinned2Nodes(benchmark::State& state) {
  Run(state, MakeHost(2, 8), Guest(2, 4), Verdict::kFits);
}
BENCHMARK(Pinned2Nodes);

void PinnedGpuAndVf2Nodes(benchmark::State& state) {
  RequestSpec spec = Guest(2, 4);
  spec.pci = {Ask("10de", "1db4", 1), Ask("8086", "154c", 2)};
  Run(state, MakeHost(2, static_cast<uint32_t>(state.range(0))), spec, Verdict::kFits);
}
BENCHMARK(PinnedGpuAndVf2Nodes)->Arg(8)->Arg(32);

void NoFreeCpus2Nodes(benchmark::State& state) {
  Run(state, MakeHost(2, 8), Guest(2, 64), Verdict::kNo);
}
BENCHMARK(NoFreeCpus2Nodes);

void Impossible4Of8Nodes(benchmark::State& state) {
  RequestSpec spec = Guest(4, 4);
  spec.pci = {Ask("10de", "1db4", 5)};
  Run(state, MakeHost(8, 8), spec, Verdict::kNo);
}
BENCHMARK(Impossible4Of8Nodes);

void Impossible8Of16Nodes(benchmark::State& state) {
  RequestSpec spec = Guest(8, 4);
  spec.pci = {Ask("10de", "1db4", 9)};
  Run(state, MakeHost(16, 8), spec, Verdict::kNo);
}
BENCHMARK(Impossible8Of16Nodes)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace berth::scheduler
