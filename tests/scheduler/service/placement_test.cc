// The scheduler against the real placement service, over gRPC and a store on disk.
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

}  // namespace
}  // namespace berth::scheduler
