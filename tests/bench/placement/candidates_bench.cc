// The search of allocation candidates by itself, in one process: NAME/HOSTS/LIMIT. What the whole service
// takes, JSON and HTTP included, is measured by placement_bench.py.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>

#include "tests/bench/placement/bench_fleet.h"

namespace berth::placement::bench {
namespace {

const ResourceView& Fleet(uint32_t hosts) {
  static std::map<uint32_t, std::unique_ptr<ResourceDraft>> fleets;
  auto& fleet = fleets[hosts];
  if (!fleet) fleet = MakeFleet(hosts);
  return fleet->view();
}

void Search(benchmark::State& state, const ResourceView& view, CandidatesRequest request, uint32_t limit) {
  request.limit = limit;
  size_t candidates = 0;
  for (auto _ : state) {
    const Result<CandidatesAnswer> answer = FindCandidates(view, request);
    candidates = answer->candidates.size();
    benchmark::DoNotOptimize(answer->summaries.data());
  }
  state.counters["candidates"] = static_cast<double>(candidates);
}

void Gpus(benchmark::State& state) {
  static const std::unique_ptr<ResourceDraft> kFleet = MakeGpuFleet(1000);
  Search(state, kFleet->view(), GpuRequest(6), static_cast<uint32_t>(state.range(0)));
}
BENCHMARK(Gpus)->Name("gpu6/1000")->Arg(10)->Arg(1000)->Unit(benchmark::kMicrosecond);

void GpusOneHost(benchmark::State& state) {
  static const std::unique_ptr<ResourceDraft> kFleet = MakeGpuFleet(1);
  Search(state, kFleet->view(), GpuRequest(static_cast<uint32_t>(state.range(0))), 1'000'000);
}
BENCHMARK(GpusOneHost)->Name("gpu_all/1")->Arg(4)->Arg(6)->Arg(9)->Unit(benchmark::kMicrosecond);

const bool kRegistered = [] {
  for (uint32_t hosts : {100U, 1000U, 10000U}) {
    for (const NamedRequest& one : FleetRequests(hosts)) {
      for (uint32_t limit : {10U, 1000U}) {
        const std::string name = one.name + '/' + std::to_string(hosts) + '/' + std::to_string(limit);
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
          Search(state, Fleet(hosts), one.request, limit);
        })->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace berth::placement::bench
