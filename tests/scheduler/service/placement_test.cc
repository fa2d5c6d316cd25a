// The scheduler against the real placement service, over gRPC and a store on disk.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/client/channel.h"
#include "placement/server.h"
#include "placement/wire/host.h"
#include "scheduler/service/grpc_placement_client.h"
#include "scheduler/service/scheduler.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

constexpr const char* kCatalogue = R"(
aliases:
  - {name: vf, vendor_id: "8086", product_id: "154c", device_type: type-VF}
flavors:
  - name: nfv
    vcpus: 4
    memory_mib: 1024
    extra_specs: {hw:cpu_policy: dedicated, hw:numa_nodes: 2, pci_passthrough:alias: "vf:1"}
)";

// A placement on a given port; started again on the same store after Stop.
class Placement {
 public:
  explicit Placement(std::string store) : store_(std::move(store)) {}
  ~Placement() { Stop(); }

  void Start() {
    auto opened = placement::PlacementServer::Open({.store = store_});
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    placement_ = std::move(*opened);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port_), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(placement_->service());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void Stop() {
    if (server_ == nullptr) return;
    placement_->PrepareShutdown();
    server_->Shutdown();
    server_.reset();
    placement_.reset();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  std::string store_;
  int port_ = 0;
  std::unique_ptr<placement::PlacementServer> placement_;
  std::unique_ptr<grpc::Server> server_;
};

void Report(const std::string& address, const placement::HostReport& host) {
  auto stub = v1::Placement::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ReportHostRequest request;
  wire::HostToProto(host, request.mutable_host());
  v1::ReportHostResponse response;
  grpc::Status status = stub->ReportHost(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
}

template <class Condition>
bool Await(Condition condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

TEST(SchedulerOnPlacement, FillsAHostExactlyAndGoesOnAfterPlacementRestarted) {
  std::string pattern = (std::filesystem::temp_directory_path() / "berth-plc-XXXXXX").string();
  std::filesystem::path folder = mkdtemp(pattern.data());
  Placement placement("sqlite:" + (folder / "placement.db").string());
  placement.Start();
  placement::HostReport host = MakeHost("h1", 2, 8);
  AddVfs(host, 0x18, 4, 1);
  Report(placement.address(), host);
  auto catalogue = ParseCatalogue(kCatalogue, "test.yaml");
  ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  MetricsRegistry metrics;
  GrpcPlacementClient client(placement::MakeChannel(placement.address()));
  Scheduler scheduler(std::make_shared<const Catalogue>(std::move(*catalogue)), client, metrics,
                      [] { return uint64_t{1700000000000}; });
  ASSERT_TRUE(Await([&] { return scheduler.ready(); }));
  InstanceRequest request;
  request.flavor = "nfv";

  // Two CPUs of each cell and one VF each: the fifth finds neither.
  std::set<PciAddress> devices;
  for (int i = 0; i < 3; ++i) {
    request.name = "vm" + std::to_string(i);
    InstanceAnswer answer = scheduler.Create(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
    devices.insert(answer.claim->devices.at(0).address);
  }
  placement.Stop();
  request.name = "vm3";
  EXPECT_EQ(scheduler.Create(request).status.code(), StatusCode::kUnavailable);
  placement.Start();
  ASSERT_TRUE(Await([&] { return client.GetClaim("vm0").has_value(); }));
  InstanceAnswer fourth = scheduler.Create(request);
  ASSERT_TRUE(fourth.status.ok()) << fourth.status.ToString();
  devices.insert(fourth.claim->devices.at(0).address);
  request.name = "vm4";
  InstanceAnswer fifth = scheduler.Create(request);

  EXPECT_EQ(devices.size(), 4u);
  EXPECT_EQ(fifth.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(fifth.decision.refusals.at(0).reason.code, "cpus_dedicated");
  EXPECT_EQ(scheduler.List().size(), 4u);
  client.StopWatch();
  placement.Stop();
  std::filesystem::remove_all(folder);
}

// 256 creates in one anti-affinity group, through four schedulers at once, all of them with the real
// placement.
TEST(SchedulerOnPlacement, ParallelCreatesOfAGroupBreakNoPromiseAndBatchesAreOneRecord) {
  std::string pattern = (std::filesystem::temp_directory_path() / "berth-plc-XXXXXX").string();
  std::filesystem::path folder = mkdtemp(pattern.data());
  Placement placement("sqlite:" + (folder / "placement.db").string());
  placement.Start();
  constexpr int kHosts = 272;
  for (int i = 0; i < kHosts; ++i) Report(placement.address(), MakeHost("h" + std::to_string(i), 1, 4));
  auto catalogue = ParseCatalogue("flavors: [{name: tiny, vcpus: 1, memory_mib: 64}]", "test.yaml");
  ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  auto shared = std::make_shared<const Catalogue>(std::move(*catalogue));
  MetricsRegistry metrics;
  struct One {
    One(const std::string& address, std::shared_ptr<const Catalogue> catalogue, MetricsRegistry& metrics)
        : client(placement::MakeChannel(address)),
          scheduler(std::move(catalogue), client, metrics, [] { return uint64_t{1}; }) {}
    GrpcPlacementClient client;
    Scheduler scheduler;
  };
  std::vector<std::unique_ptr<One>> all;
  std::vector<std::unique_ptr<MetricsRegistry>> registries;
  for (int i = 0; i < 4; ++i) {
    registries.push_back(std::make_unique<MetricsRegistry>());
    all.push_back(std::make_unique<One>(placement.address(), shared, *registries.back()));
  }
  for (auto& one : all) ASSERT_TRUE(Await([&] { return one->scheduler.ready(); }));
  placement::ServerGroup group{"g", placement::ServerGroupPolicy::kAntiAffinity, 1};
  std::vector<std::thread> threads;
  std::atomic<int> made = 0;
  for (size_t t = 0; t < all.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < 256; i += all.size()) {
        InstanceRequest request;
        request.name = "vm" + std::to_string(i);
        request.flavor = "tiny";
        request.group = group;
        InstanceAnswer answer;
        for (int tries = 0; tries < 64; ++tries) {
          answer = all[t]->scheduler.Create(request);
          if (answer.status.code() != StatusCode::kAborted) break;
        }
        EXPECT_TRUE(answer.status.ok()) << answer.status.ToString();
        made += answer.status.ok() ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 256);
  auto members = all[0]->client.ListGroup("g");
  ASSERT_TRUE(members.has_value());
  std::set<Uuid> hosts;
  for (const placement::Claim& member : *members) hosts.insert(member.host);
  EXPECT_EQ(members->size(), 256u);
  EXPECT_EQ(hosts.size(), 256u);

  // Sixteen hosts are left: a batch of sixteen has a place, then one more has none.
  Scheduler& last = all[1]->scheduler;
  ASSERT_TRUE(Await([&] { return last.List().size() == 256; }));
  BatchRequest batch;
  batch.all_or_nothing = true;
  for (int i = 0; i < 17; ++i) {
    InstanceRequest request;
    request.name = "late" + std::to_string(i);
    request.flavor = "tiny";
    request.group = group;
    batch.instances.push_back(request);
  }
  BatchAnswer refused = last.CreateMany(batch);
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(all[0]->client.ListGroup("g")->size(), 256u);
  batch.instances.pop_back();
  BatchAnswer good = last.CreateMany(batch);
  ASSERT_TRUE(good.status.ok()) << good.status.ToString();
  EXPECT_EQ(all[0]->client.ListGroup("g")->size(), 272u);

  // A host that is taken out is known to all schedulers, and says why.
  ASSERT_TRUE(all[2]->scheduler.SetHostStatus("h7", false, "test").ok());
  ASSERT_TRUE(Await([&] {
    bool disabled = false;
    all[3]->scheduler.mirror().Snapshot()->ForEach(
        [&](const HostView& view) { disabled = disabled || !view.facts->enabled; });
    return disabled;
  }));
  InstanceRequest there;
  there.name = "there";
  there.flavor = "tiny";
  there.host = "h7";
  InstanceAnswer none = all[3]->scheduler.Create(there);
  ASSERT_EQ(none.decision.refusals.size(), 1u) << none.status.ToString();
  EXPECT_EQ(none.decision.refusals[0].reason.code, "compute_status");
  for (auto& one : all) one->client.StopWatch();
  placement.Stop();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth::scheduler
