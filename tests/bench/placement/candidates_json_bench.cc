// Search and body together: what GET /allocation_candidates costs before HTTP. NAME/HOSTS/LIMIT.
#include <benchmark/benchmark.h>

#include "placement/rest/candidates_json.h"
#include "tests/bench/placement/bench_fleet.h"

namespace berth::placement::bench {
namespace {

void SearchAndWrite(benchmark::State& state, const ResourceView& view, CandidatesRequest request,
                    uint32_t limit) {
  request.limit = limit;
  size_t bytes = 0;
  for (auto _ : state) {
    const Result<CandidatesAnswer> answer = FindCandidates(view, request);
    const std::string body = rest::CandidatesJson(view, request, *answer, {1, 39});
    bytes = body.size();
    benchmark::DoNotOptimize(body.data());
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}

void Gpus(benchmark::State& state) {
  static const std::unique_ptr<ResourceDraft> kFleet = MakeGpuFleet(1000);
  SearchAndWrite(state, kFleet->view(), GpuRequest(6), static_cast<uint32_t>(state.range(0)));
}
BENCHMARK(Gpus)->Name("gpu6/1000")->Arg(10)->Arg(1000)->Unit(benchmark::kMicrosecond);

constexpr uint32_t kHosts = 10'000;

const ResourceView& Fleet() {
  static const std::unique_ptr<ResourceDraft> kFleet = MakeFleet(kHosts);
  return kFleet->view();
}

const bool kRegistered = [] {
  for (const NamedRequest& one : FleetRequests(kHosts)) {
    for (uint32_t limit : {10U, 1000U}) {
      const std::string name = one.name + '/' + std::to_string(kHosts) + '/' + std::to_string(limit);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        SearchAndWrite(state, Fleet(), one.request, limit);
      })->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace berth::placement::bench
