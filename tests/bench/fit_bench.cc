// The exact fit of one host. Names follow the anchor's table: nodes of the host, cells of the guest, devices.
#include <benchmark/benchmark.h>

#include "scheduler/fit/fit.h"
#include "scheduler/fit/quick_fit.h"

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

// Yes or no and how well, as for every host of a fleet.
void Decide(benchmark::State& state, const FitHost& host, const RequestSpec& spec, Verdict expected) {
  RequestPlan plan(spec, *host.types);
  for (auto _ : state) {
    QuickFit result = FitQuickly(host, plan);
    if (result.verdict != expected) state.SkipWithError("wrong verdict");
    benchmark::DoNotOptimize(result);
  }
}

// The assignment too, as for the chosen host.
void Run(benchmark::State& state, const FitHost& host, const RequestSpec& spec, Verdict expected) {
  FitOptions options;
  options.explain = false;
  for (auto _ : state) {
    FitResult result = Fit(host, spec, options);
    if (result.verdict != expected) state.SkipWithError("wrong verdict");
    benchmark::DoNotOptimize(result);
  }
}

struct Case {
  FitHost host;
  RequestSpec spec;
  Verdict expected = Verdict::kFits;
};

Case Floating2Nodes() {
  RequestSpec spec;
  spec.vcpus = 2;
  spec.memory_bytes = kGib;
  return {MakeHost(2, 8), spec};
}

Case Pinned2Nodes() {
  return {MakeHost(2, 8), Guest(2, 4)};
}

Case PinnedGpuAndVf2Nodes(uint32_t vfs) {
  RequestSpec spec = Guest(2, 4);
  spec.pci = {Ask("10de", "1db4", 1), Ask("8086", "154c", 2)};
  return {MakeHost(2, vfs), spec};
}

Case NoFreeCpus2Nodes() {
  return {MakeHost(2, 8), Guest(2, 64), Verdict::kNo};
}

Case Impossible4Of8Nodes() {
  RequestSpec spec = Guest(4, 4);
  spec.pci = {Ask("10de", "1db4", 5)};
  return {MakeHost(8, 8), spec, Verdict::kNo};
}

Case ExactlyFits8Of16Nodes() {
  RequestSpec spec = Guest(8, 4);
  spec.pci = {Ask("10de", "1db4", 8), Ask("8086", "154c", 8)};
  return {MakeHost(16, 8), spec};
}

// Every second node is busy in its own way.
Case Uneven8Of16Nodes() {
  RequestSpec spec = Guest(8, 4);
  spec.pci = {Ask("10de", "1db4", 8)};
  FitHost host = MakeHost(16, 8);
  for (uint32_t node = 0; node < 16; node += 2)
    host.cells[node].free_dedicated -= CpuSet::Range(node * 40 + 8, node * 40 + 8 + node);
  Prepare(host);
  return {std::move(host), spec};
}

Case Impossible8Of16Nodes() {
  RequestSpec spec = Guest(8, 4);
  spec.pci = {Ask("10de", "1db4", 9)};
  return {MakeHost(16, 8), spec, Verdict::kNo};
}

// More cells than nodes are big enough for (a violation of Hall's condition).
Case TooFewBigNodes8Of16() {
  RequestSpec spec = Guest(8, 4);
  for (uint32_t i = 0; i < 5; ++i) spec.cells[i].memory_bytes = 64 * kGib;
  FitHost host = MakeHost(16, 8);
  for (uint32_t node = 4; node < 16; ++node) host.cells[node].pages[0].free = 8 * kGib / 4096;
  return {std::move(host), spec, Verdict::kNo};
}

#define BOTH(name, ...)                              \
  void Decide##name(benchmark::State& state) {       \
    Case one = __VA_ARGS__;                          \
    Decide(state, one.host, one.spec, one.expected); \
  }                                                  \
  BENCHMARK(Decide##name);                           \
  void Assign##name(benchmark::State& state) {       \
    Case one = __VA_ARGS__;                          \
    Run(state, one.host, one.spec, one.expected);    \
  }                                                  \
  BENCHMARK(Assign##name)

BOTH(Floating2Nodes, Floating2Nodes());
BOTH(Pinned2Nodes, Pinned2Nodes());
BOTH(PinnedGpuAndVf2Nodes8Vfs, PinnedGpuAndVf2Nodes(8));
BOTH(PinnedGpuAndVf2Nodes32Vfs, PinnedGpuAndVf2Nodes(32));
BOTH(NoFreeCpus2Nodes, NoFreeCpus2Nodes());
BOTH(Impossible4Of8Nodes, Impossible4Of8Nodes());
BOTH(ExactlyFits8Of16Nodes, ExactlyFits8Of16Nodes());
BOTH(Uneven8Of16Nodes, Uneven8Of16Nodes());
BOTH(Impossible8Of16Nodes, Impossible8Of16Nodes());
BOTH(TooFewBigNodes8Of16, TooFewBigNodes8Of16());

}  // namespace
}  // namespace berth::scheduler
