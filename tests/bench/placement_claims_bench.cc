// Durable claims a second through gRPC over TCP loopback: server and client in this process, the store in a
// real file. Prints one JSON line for each number of claims in flight. sync_us is what the disk alone takes
// in the same folder for a commit of one claim: seven pages written at the end of a file, and one fdatasync
// (median).
//
//   placement_claims_bench [FOLDER [CLAIMS [IN_FLIGHT...]]]     default: the current folder, 20000, 1 16 256
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "berth/v1/placement.grpc.pb.h"
#include "common/log.h"
#include "placement/engine/writer.h"
#include "placement/server.h"
#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "tests/placement/model/model_builders.h"

namespace {

using namespace berth;                      // NOLINT(google-build-using-namespace)
using namespace berth::placement;           // NOLINT(google-build-using-namespace)
using namespace berth::placement::testing;  // NOLINT(google-build-using-namespace)
using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kCpusOfAHost = 128;

// One claim after another on each of `in_flight` slots; each pins a CPU of its own.
class Load {
 public:
  Load(v1::Placement::Stub& stub, int first, int claims) : stub_(stub), next_(first), end_(first + claims) {
    latencies_us_.reserve(static_cast<size_t>(claims));
  }

  void Run(int in_flight) {
    running_ = in_flight;
    for (int i = 0; i < in_flight; ++i) Next();
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return running_ == 0; });
  }

  int failures() const { return failures_; }
  double Percentile(double share) {
    std::sort(latencies_us_.begin(), latencies_us_.end());
    return latencies_us_.empty() ? 0 : latencies_us_[static_cast<size_t>(share * (latencies_us_.size() - 1))];
  }

 private:
  struct Call {
    grpc::ClientContext context;
    v1::CreateClaimRequest request;
    v1::CreateClaimResponse response;
    SteadyClock::time_point start;
  };

  static Uuid HostId(uint32_t number) { return Uuid::FromName(Id(1), "host" + std::to_string(number)); }

  void Next() {
    int number = next_.fetch_add(1);
    if (number >= end_) {
      std::lock_guard lock(mutex_);
      if (--running_ == 0) finished_.notify_all();
      return;
    }
    auto* call = new Call;
    auto index = static_cast<uint32_t>(number);
    Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {index % kCpusOfAHost})});
    claim.host = HostId(index / kCpusOfAHost);
    claim.consumer = Uuid::FromName(Id(2), std::to_string(number));
    claim.name = "vm" + std::to_string(number);
    wire::ClaimToProto(claim, call->request.mutable_claim());
    call->start = SteadyClock::now();
    stub_.async()->CreateClaim(
        &call->context, &call->request, &call->response, [this, call](const grpc::Status& status) {
          std::chrono::duration<double, std::micro> took = SteadyClock::now() - call->start;
          {
            std::lock_guard lock(mutex_);
            latencies_us_.push_back(took.count());
            if (!status.ok()) ++failures_;
          }
          delete call;
          Next();
        });
  }

  v1::Placement::Stub& stub_;
  std::atomic<int> next_;
  const int end_;
  std::mutex mutex_;
  std::condition_variable finished_;
  int running_ = 0;
  int failures_ = 0;
  std::vector<double> latencies_us_;
};

HostReport BenchHost(uint32_t number) {
  HostReport host = MakeHost();
  host.uuid = Uuid::FromName(Id(1), "host" + std::to_string(number));
  host.name = "host" + std::to_string(number);
  host.cells = {MakeCell(0, {}, CpuSet::Range(0, kCpusOfAHost - 1), 64 * kCpusOfAHost)};
  return host;
}

// CPU time of the process so far, user and system, client and server together.
double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

double SyncMicroseconds(const std::string& folder) {
  constexpr int kPages = 7;
  const std::string path = folder + "/placement_claims_bench.sync";
  const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
  const char page[4096] = {};
  std::vector<double> took;
  for (off_t at = 0; at < off_t{200 * kPages * 4096};) {
    auto start = SteadyClock::now();
    for (int i = 0; i < kPages; ++i, at += 4096) {
      if (pwrite(fd, page, sizeof page, at) != sizeof page) std::abort();
    }
    if (fdatasync(fd) != 0) std::abort();
    took.push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - start).count());
  }
  close(fd);
  std::filesystem::remove(path);
  std::nth_element(took.begin(), took.begin() + took.size() / 2, took.end());
  return took[took.size() / 2];
}

int Bench(const std::string& folder, int claims, const std::vector<int>& in_flights) {
  std::string path = folder + "/placement_claims_bench." + std::to_string(getpid()) + ".db";
  auto placement = PlacementServer::Open({.store = "sqlite:" + path});
  if (!placement) {
    std::fprintf(stderr, "%s\n", placement.status().ToString().c_str());
    return 1;
  }
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService((*placement)->service());
  auto server = builder.BuildAndStart();
  auto stub = v1::Placement::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));

  auto hosts = static_cast<uint32_t>(claims) * static_cast<uint32_t>(in_flights.size()) / kCpusOfAHost + 1;
  for (uint32_t i = 0; i < hosts; ++i) {
    auto report = (*placement)->writer().Execute({.at_ms = 1, .body = placement::ReportHost{BenchHost(i)}});
    if (!report) return 1;
  }
  int first = 0;
  int failures = 0;
  for (int in_flight : in_flights) {
    // One in flight is bound by the disk's sync: fewer claims tell as much.
    int count = in_flight == 1 ? std::max(1, claims / 10) : claims;
    Load load(*stub, first, count);
    first += count;
    uint64_t commits = (*placement)->writer().counters().commits;
    double cpu = CpuSeconds();
    auto start = SteadyClock::now();
    load.Run(in_flight);
    std::chrono::duration<double> took = SteadyClock::now() - start;
    cpu = CpuSeconds() - cpu;
    commits = (*placement)->writer().counters().commits - commits;
    failures += load.failures();
    std::printf(
        "{\"bench\":\"placement_claims\",\"cpus\":%u,\"hosts\":%u,\"in_flight\":%d,\"claims\":%d,\"failed\":%"
        "d,"
        "\"seconds\":%.3f,\"claims_per_s\":%.0f,\"cpu_us_per_claim\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f,"
        "\"commits\":%llu,"
        "\"claims_per_commit\":%.1f,\"sync_us\":%.0f}\n",
        std::thread::hardware_concurrency(), hosts, in_flight, count, load.failures(), took.count(),
        count / took.count(), cpu * 1e6 / count, load.Percentile(0.5), load.Percentile(0.99),
        static_cast<unsigned long long>(commits), count / static_cast<double>(std::max<uint64_t>(1, commits)),
        SyncMicroseconds(folder));
    std::fflush(stdout);
  }
  server->Shutdown();
  placement->reset();
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  InitLogging("placement_claims_bench", LogLevel::kWarning);
  std::string folder = argc > 1 ? argv[1] : ".";
  int claims = argc > 2 ? std::atoi(argv[2]) : 20000;
  std::vector<int> in_flights;
  for (int i = 3; i < argc; ++i) in_flights.push_back(std::max(1, std::atoi(argv[i])));
  if (in_flights.empty()) in_flights = {1, 16, 256};
  return Bench(folder, std::max(1, claims), in_flights);
}
