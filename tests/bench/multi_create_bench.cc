// Several creates at once. "engine": 1,404 instances, all or nothing, with anti-affinity, decided in the
// scheduler and taken by a placement in memory that checks every claim. "grpc": batches of 256 through gRPC,
// durable in SQLite with synchronous=FULL, deletes aside. Prints one JSON line each.
//
//   multi_create_bench [engine|grpc|all] [HOSTS] [FOLDER]     default: all 10000 .
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "berth/v1/scheduler.grpc.pb.h"
#include "common/log.h"
#include "placement/engine/writer.h"
#include "placement/server.h"
#include "placement/wire/host.h"
#include "scheduler/service/grpc_placement_client.h"
#include "scheduler/service/grpc_service.h"
#include "scheduler/service/scheduler.h"
#include "tests/bench/fleet_hosts.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::scheduler;  // NOLINT(google-build-using-namespace)
using bench::MakeFleetHost;
using SteadyClock = std::chrono::steady_clock;

constexpr const char* kCatalogue = R"(
aliases:
  - {name: gpu, vendor_id: "10de", product_id: "2330"}
flavors:
  - {name: small, vcpus: 2, memory_mib: 4096, extra_specs: {hw:cpu_policy: dedicated}}
  - {name: plain, vcpus: 2, memory_mib: 4096}
)";

std::shared_ptr<const Catalogue> BenchCatalogue() {
  return std::make_shared<const Catalogue>(*ParseCatalogue(kCatalogue, "bench.yaml"));
}

double CpuMs() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

// Takes everything and checks nothing: what is measured is the decision, the claims and the mirror.
class TakesAll final : public PlacementClient {
 public:
  void StartWatch(std::function<void(PlacementEvent)> sink) override { sink_ = std::move(sink); }
  void StopWatch() override {}
  Result<CreatedClaim> CreateClaim(const placement::Claim& claim, uint64_t generation) override {
    return CreatedClaim{claim, generation + 1};
  }
  Result<std::vector<ClaimResult>> CreateClaims(const std::vector<AskedClaim>& claims, bool) override {
    std::vector<ClaimResult> results;
    for (const AskedClaim& one : claims) results.push_back({OkStatus(), one.expected_generation + 1, 1});
    return results;
  }
  Status SetHostStatus(const std::string&, bool, const std::string&) override { return OkStatus(); }
  Result<std::vector<placement::Claim>> ListGroup(const std::string&) override {
    return std::vector<placement::Claim>();
  }
  Result<placement::Claim> GetClaim(const std::string&) override { return NotFound("no"); }
  Result<placement::Claim> ReleaseClaim(const std::string&) override { return NotFound("no"); }
  Result<placement::Claim> ChangeDevice(const Uuid&, DeviceChange, const placement::DeviceBinding&,
                                        std::optional<uint64_t>) override {
    return NotFound("no");
  }
  Result<placement::Claim> SwapClaims(const Uuid&, const Uuid&, bool) override { return NotFound("no"); }
  Result<HostState> GetHost(const Uuid&) override { return NotFound("no"); }

  void Tell(uint32_t hosts) {
    sink_(PlacementEvent{});
    for (uint32_t i = 0; i < hosts; ++i) {
      PlacementEvent event;
      event.kind = PlacementEvent::Kind::kHostChanged;
      event.report = MakeFleetHost(i);
      event.host = event.report->uuid;
      event.generation = 1;
      sink_(std::move(event));
    }
    PlacementEvent synced;
    synced.kind = PlacementEvent::Kind::kSynced;
    sink_(std::move(synced));
  }

 private:
  std::function<void(PlacementEvent)> sink_;
};

BatchRequest Batch(int first, int count, const std::string& flavor, bool all,
                   std::optional<placement::ServerGroup> group) {
  BatchRequest batch;
  batch.all_or_nothing = all;
  for (int i = first; i < first + count; ++i) {
    InstanceRequest request;
    request.name = "vm" + std::to_string(i);
    request.flavor = flavor;
    request.group = group;
    batch.instances.push_back(std::move(request));
  }
  return batch;
}

int BenchEngine(uint32_t hosts) {
  TakesAll placement;
  MetricsRegistry metrics;
  Scheduler scheduler(BenchCatalogue(), placement, metrics, [] { return uint64_t{1}; });
  placement.Tell(hosts);
  std::vector<double> times;
  std::vector<double> walls;
  int failed = 0;
  for (int round = 0; round < 5; ++round) {
    placement::ServerGroup group{"g" + std::to_string(round), placement::ServerGroupPolicy::kAntiAffinity, 1};
    BatchRequest batch = Batch(round * 1404, 1404, "small", true, group);
    auto wall = SteadyClock::now();
    double cpu = CpuMs();
    BatchAnswer answer = scheduler.CreateMany(batch);
    times.push_back(CpuMs() - cpu);
    walls.push_back(std::chrono::duration<double, std::milli>(SteadyClock::now() - wall).count());
    failed += answer.status.ok() ? 0 : 1;
    if (!answer.status.ok()) std::fprintf(stderr, "%s\n", answer.status.ToString().c_str());
  }
  std::sort(times.begin(), times.end());
  std::sort(walls.begin(), walls.end());
  std::printf(
      "{\"bench\":\"multi_create\",\"hosts\":%u,\"instances\":1404,\"policy\":\"anti-affinity\","
      "\"all_or_nothing\":true,\"failed\":%d,\"cpu_ms_p50\":%.2f,\"cpu_ms_max\":%.2f,\"wall_ms_p50\":%.2f,"
      "\"goal_ms\":20}\n",
      hosts, failed, times[times.size() / 2], times.back(), walls[walls.size() / 2]);
  std::fflush(stdout);
  return failed;
}

int BenchGrpc(uint32_t hosts, const std::string& folder) {
  std::string path = folder + "/multi_create_bench." + std::to_string(getpid()) + ".db";
  auto placement = placement::PlacementServer::Open({.store = "sqlite:" + path});
  if (!placement) {
    std::fprintf(stderr, "%s\n", placement.status().ToString().c_str());
    return 1;
  }
  for (uint32_t i = 0; i < hosts; ++i) {
    if (!(*placement)->writer().Execute({.at_ms = 1, .body = placement::ReportHost{MakeFleetHost(i)}}))
      return 1;
  }
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService((*placement)->service());
  auto placement_server = builder.BuildAndStart();
  auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  GrpcPlacementClient client(channel);
  MetricsRegistry metrics;
  int failed = 0;
  {
    Scheduler scheduler(BenchCatalogue(), client, metrics, [] { return uint64_t{1}; });
    while (!scheduler.ready()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    GrpcService service(scheduler);
    int scheduler_port = 0;
    grpc::ServerBuilder own;
    own.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &scheduler_port);
    own.RegisterService(&service);
    auto server = own.BuildAndStart();
    auto stub = v1::Scheduler::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(scheduler_port),
                                                           grpc::InsecureChannelCredentials()));
    constexpr int kBatches = 80;
    constexpr int kSize = 256;
    uint64_t commits = (*placement)->writer().counters().commits;
    double cpu = ProcessCpuSeconds();
    auto start = SteadyClock::now();
    grpc::ClientContext context;
    auto stream = stub->StreamInstances(&context);
    // Two batches under way: the next is read while one is decided.
    std::thread reader([&] {
      v1::CreateInstancesResponse response;
      while (stream->Read(&response)) {
        for (const auto& result : response.results()) failed += result.code() == 0 ? 0 : 1;
      }
    });
    for (int batch = 0; batch < kBatches; ++batch) {
      v1::CreateInstancesRequest request;
      for (int i = 0; i < kSize; ++i) {
        auto* one = request.add_instances();
        one->set_name("vm" + std::to_string(batch * kSize + i));
        one->set_flavor(i % 2 == 0 ? "small" : "plain");
      }
      stream->Write(request);
    }
    stream->WritesDone();
    reader.join();
    stream->Finish();
    std::chrono::duration<double> took = SteadyClock::now() - start;
    cpu = ProcessCpuSeconds() - cpu;
    commits = (*placement)->writer().counters().commits - commits;
    std::printf(
        "{\"bench\":\"multi_create_grpc\",\"hosts\":%u,\"batch\":%d,\"instances\":%d,\"failed\":%d,"
        "\"seconds\":%.3f,"
        "\"durable_per_s\":%.0f,\"cpu_us_per_instance\":%.0f,\"commits\":%llu,\"goal_per_s\":10000}\n",
        hosts, kSize, kBatches * kSize, failed, took.count(), kBatches * kSize / took.count(),
        cpu * 1e6 / (kBatches * kSize), static_cast<unsigned long long>(commits));
    std::fflush(stdout);
    service.Stop();
    server->Shutdown();
  }
  (*placement)->PrepareShutdown();
  placement_server->Shutdown();
  placement->reset();
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  InitLogging("multi_create_bench", LogLevel::kWarning);
  std::string what = argc > 1 ? argv[1] : "all";
  auto hosts = static_cast<uint32_t>(argc > 2 ? std::max(1, std::atoi(argv[2])) : 10000);
  std::string folder = argc > 3 ? argv[3] : ".";
  int failed = 0;
  if (what != "grpc") failed += BenchEngine(hosts);
  if (what != "engine") failed += BenchGrpc(std::min<uint32_t>(hosts, 2000), folder);
  return failed == 0 ? 0 : 1;
}
