// The whole way on one machine, over real gRPC: report, create, run, console, delete. Only the VMM is a fake.
#include "deploy/all_in_one.h"

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include "berth/v1/agent.grpc.pb.h"
#include "berth/v1/placement.grpc.pb.h"
#include "berth/v1/scheduler.grpc.pb.h"
#include "common/file.h"
#include "tests/common/http/raw_client.h"
#include "tests/fakes/fake_sysfs.h"
#include "tests/fakes/temp_folder.h"

namespace berth {
namespace {

using namespace std::chrono_literals;

class AllInOneTest : public testing::Test {
 protected:
  void SetUp() override {
    // Node 0 and CPU 0 exist on every machine that runs this: the fake VMM binds to them for real.
    host_.Hostname("host1").Node(0).Socket(0).Cpus("0").Memory(GiB(4));
    host_.Device("0000:41:00.0").Id("8086", "154d").OnNode(0).Driver("ixgbe");
    host_.Write();
    options_.state_dir = folder_.path() / "state";
    options_.config = folder_.path() / "config";
    options_.listen = "127.0.0.1:0";
    options_.root = host_.path();
    options_.vmm = FAKE_VMM;
    std::filesystem::create_directories(options_.config);
    Put("flavors.yaml",
        "flavors:\n  - {name: small, vcpus: 1, memory_mib: 16, extra_specs: {hw:cpu_policy: dedicated}}\n"
        "  - {name: nic, vcpus: 1, memory_mib: 16, extra_specs: {\"pci_passthrough:alias\": \"nic:1\"}}\n"
        "  - {name: huge, vcpus: 8, memory_mib: 16}\n");
    Put("aliases.yaml", "aliases:\n  - {name: nic, vendor_id: \"8086\", product_id: \"154d\"}\n");
    Put("agent.yaml", "shutdown_timeout: 1\ndevice_spec:\n  - {vendor_id: \"8086\", product_id: \"154d\"}\n");
  }
  void TearDown() override {
    all_.reset();
    if (pid_ > 0) ::kill(pid_, SIGKILL);  // only of a test that failed halfway
  }

  void Put(const std::string& name, const std::string& text) {
    std::ofstream(std::filesystem::path(options_.config) / name) << text;
  }
  std::string StartError(const AllInOne::Options& options) {
    auto all = AllInOne::Start(options);
    return all.has_value() ? "started" : all.error().ToString();
  }
  void Start() {
    auto all = AllInOne::Start(options_);
    ASSERT_TRUE(all.has_value()) << all.error().ToString();
    all_ = *std::move(all);
    auto channel = grpc::CreateChannel(all_->endpoint(), grpc::InsecureChannelCredentials());
    scheduler_ = v1::Scheduler::NewStub(channel);
    placement_ = v1::Placement::NewStub(channel);
    agent_ = v1::Agent::NewStub(channel);
  }
  // Asks again until it is so: what clients of an asynchronous system do.
  template <class Condition>
  bool Await(Condition condition) {
    for (auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return condition();
  }
  grpc::Status Create(const std::string& name, const std::string& flavor) {
    v1::CreateInstanceRequest request;
    request.set_name(name);
    request.set_flavor(flavor);
    request.mutable_boot()->set_kernel("/proc/version");
    grpc::Status status;
    // Until the first report has arrived there is no host, and before the mirror is synced UNAVAILABLE.
    Await([&] {
      grpc::ClientContext context;
      v1::CreateInstanceResponse response;
      status = scheduler_->CreateInstance(&context, request, &response);
      // The mirror may still miss the host, which then is not among the reasons.
      bool early = status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
                   context.GetServerTrailingMetadata().count("berth-no-fit-bin") == 0;
      return status.error_code() != grpc::StatusCode::UNAVAILABLE && !early;
    });
    return status;
  }
  bool AwaitHost() {
    return Await([&] {
      grpc::ClientContext context;
      v1::ListHostsResponse response;
      return placement_->ListHosts(&context, {}, &response).ok() && response.hosts_size() == 1;
    });
  }
  v1::Claim Get(const std::string& name) {
    grpc::ClientContext context;
    v1::GetInstanceRequest request;
    request.set_instance(name);
    v1::GetInstanceResponse response;
    (void)scheduler_->GetInstance(&context, request, &response);
    return response.claim();
  }
  bool AwaitRunning(const std::string& name) {
    return Await([&] { return Get(name).status().state() == v1::INSTANCE_STATE_RUNNING; });
  }
  v1::GetInstanceRuntimeResponse Runtime(const std::string& name) {
    grpc::ClientContext context;
    v1::GetInstanceRuntimeRequest request;
    request.set_instance(Get(name).consumer());
    v1::GetInstanceRuntimeResponse response;
    grpc::Status status = agent_->GetInstanceRuntime(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (response.pid() > 0) pid_ = static_cast<pid_t>(response.pid());
    return response;
  }
  void Delete(const std::string& name) {
    grpc::ClientContext context;
    v1::DeleteInstanceRequest request;
    request.set_instance(name);
    v1::DeleteInstanceResponse response;
    grpc::Status status = scheduler_->DeleteInstance(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  int Claims() {
    grpc::ClientContext context;
    v1::ListClaimsResponse response;
    return placement_->ListClaims(&context, {}, &response).ok() ? response.claims_size() : -1;
  }

  fakes::FakeSysfs host_;
  fakes::TempFolder folder_;
  AllInOne::Options options_;
  std::unique_ptr<AllInOne> all_;
  std::unique_ptr<v1::Scheduler::Stub> scheduler_;
  std::unique_ptr<v1::Placement::Stub> placement_;
  std::unique_ptr<v1::Agent::Stub> agent_;
  pid_t pid_ = 0;
};

TEST_F(AllInOneTest, AnInstanceIsCreatedRunsWhereItWasClaimedAndIsDeleted) {
  Start();
  ASSERT_TRUE(AwaitHost());
  grpc::Status created = Create("vm", "small");
  ASSERT_TRUE(created.ok()) << created.error_message();
  ASSERT_TRUE(AwaitRunning("vm")) << Get("vm").DebugString();

  v1::GetInstanceRuntimeResponse runtime = Runtime("vm");

  ASSERT_EQ(runtime.vcpus_size(), 1);
  EXPECT_EQ(runtime.vcpus(0).cpus_allowed(), "0");
  ASSERT_EQ(runtime.memory_size(), 1);
  EXPECT_EQ(runtime.memory(0).bytes(), 16u << 20);
  EXPECT_EQ(runtime.violations_size(), 0) << runtime.DebugString();
  Delete("vm");
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
  EXPECT_NE(::kill(pid_, 0), 0);
  pid_ = 0;
}

TEST_F(AllInOneTest, ThePlacementApiShowsTheHostAsAProvider) {
  options_.rest_listen = "127.0.0.1:0";
  Start();
  ASSERT_TRUE(AwaitHost());
  std::string endpoint = all_->rest_endpoint();
  http::RawClient client(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));

  client.Send("GET /resource_providers?name=host1 HTTP/1.1\r\nHost: h\r\nX-Auth-Token: admin\r\n\r\n");
  std::string answer = client.Answer();

  EXPECT_EQ(http::StatusOf(answer), 200) << answer;
  EXPECT_NE(answer.find("\"name\":\"host1\""), std::string::npos) << answer;
}

TEST_F(AllInOneTest, TheConsoleIsAStreamInBothDirections) {
  Start();
  ASSERT_TRUE(AwaitHost());
  ASSERT_TRUE(Create("vm", "small").ok());
  ASSERT_TRUE(AwaitRunning("vm"));
  grpc::ClientContext context;
  auto stream = agent_->Console(&context);
  v1::ConsoleInput input;
  input.set_instance(Get("vm").consumer());
  input.set_data("hello\n");
  ASSERT_TRUE(stream->Write(input));

  std::string text;
  v1::ConsoleOutput output;
  while (text.find("HELLO\n") == std::string::npos && stream->Read(&output)) text += output.data();

  EXPECT_EQ(text, "fake guest login: HELLO\n");
  Delete("vm");
  while (stream->Read(&output)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
}

TEST_F(AllInOneTest, AConsoleOfAnUnknownInstanceIsNotFound) {
  Start();
  grpc::ClientContext context;
  auto stream = agent_->Console(&context);
  v1::ConsoleInput input;
  input.set_instance("22222222-2222-4222-8222-222222222222");
  stream->Write(input);
  v1::ConsoleOutput output;
  EXPECT_FALSE(stream->Read(&output));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AllInOneTest, AVmSurvivesTheRestartOfEverything) {
  Start();
  ASSERT_TRUE(AwaitHost());
  ASSERT_TRUE(Create("vm", "small").ok());
  ASSERT_TRUE(AwaitRunning("vm"));
  uint32_t pid = Runtime("vm").pid();

  all_.reset();
  EXPECT_EQ(::kill(static_cast<pid_t>(pid), 0), 0);
  Start();

  ASSERT_TRUE(AwaitRunning("vm"));
  EXPECT_EQ(Runtime("vm").pid(), pid);
  Delete("vm");
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
  pid_ = 0;
}

TEST_F(AllInOneTest, ADeviceIsAttachedToTheGuest) {
  // The operator has bound it to vfio-pci.
  Put("agent.yaml",
      "shutdown_timeout: 1\ndevice_spec:\n"
      "  - {vendor_id: \"8086\", product_id: \"154d\", managed: \"no\"}\n");
  Start();
  ASSERT_TRUE(AwaitHost());
  grpc::Status created = Create("vm", "nic");
  ASSERT_TRUE(created.ok()) << created.error_message();
  ASSERT_TRUE(AwaitRunning("vm")) << Get("vm").DebugString();
  ASSERT_EQ(Get("vm").devices_size(), 1);
  EXPECT_EQ(Get("vm").devices(0).address(), "0000:41:00.0");
  EXPECT_EQ(Get("vm").status().detail(), "");
  const uint32_t pid = Runtime("vm").pid();
  std::string line = *ReadFile("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(line.begin(), line.end(), '\0', ' ');
  EXPECT_NE(line.find("--device=path=/sys/bus/pci/devices/0000:41:00.0,id=pci-0000:41:00.0"),
            std::string::npos)
      << line;
  Delete("vm");
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
}

TEST_F(AllInOneTest, ADeviceThatCannotBeBoundFailsTheInstanceWithTheReason) {
  Start();
  ASSERT_TRUE(AwaitHost());
  ASSERT_TRUE(Create("vm", "nic").ok());
  ASSERT_TRUE(Await([&] { return Get("vm").status().state() == v1::INSTANCE_STATE_FAILED; }));
  EXPECT_NE(Get("vm").status().detail().find("the vfio-pci driver is not loaded"), std::string::npos);
  Delete("vm");
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
}

TEST_F(AllInOneTest, WhatDoesNotFitIsRefusedAndNothingIsClaimed) {
  Start();
  ASSERT_TRUE(AwaitHost());
  EXPECT_EQ(Create("vm", "huge").error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Claims(), 0);
}

TEST_F(AllInOneTest, APortInUseIsAClearError) {
  Start();
  AllInOne::Options second = options_;
  second.state_dir = folder_.path() / "second";
  second.listen = all_->endpoint();
  EXPECT_EQ(StartError(second), "UNAVAILABLE: listen: cannot listen on \"" + all_->endpoint() +
                                    "\" (is the port free, and the address one of this machine?)");
}

TEST_F(AllInOneTest, AddressesAreCheckedBeforeAnythingIsMade) {
  AllInOne::Options options = options_;
  options.listen = "127.0.0.1";
  EXPECT_EQ(
      StartError(options),
      "INVALID_ARGUMENT: listen: \"127.0.0.1\" is no address (expected HOST:PORT or [IPv6]:PORT, port 0 to "
      "65535)");
  options.listen = "127.0.0.1:70000";
  EXPECT_NE(StartError(options).find("listen: \"127.0.0.1:70000\" is no address"), std::string::npos);
  options = options_;
  options.rest_listen = "0.0.0.0:0";
  const std::string everybody = StartError(options);
  EXPECT_NE(everybody.find("rest-listen: \"0.0.0.0:0\" is no loopback address"), std::string::npos)
      << everybody;
  EXPECT_EQ(everybody.find("--auth-none-anywhere"), std::string::npos) << everybody;
  EXPECT_FALSE(std::filesystem::exists(options_.state_dir));
}

TEST_F(AllInOneTest, ServesThePlacementApiOnIpv6) {
  options_.rest_listen = "[::1]:0";
  Start();
  EXPECT_TRUE(all_->rest_endpoint().starts_with("[::1]:")) << all_->rest_endpoint();
}

TEST_F(AllInOneTest, AnErrorOfTheCatalogueNamesItsFieldOnce) {
  Put("flavors.yaml", "flavors:\n  - {name: small, memory_mib: 16}\n");
  const std::string error = StartError(options_);
  const size_t first = error.find("flavors[0].vcpus");
  ASSERT_NE(first, std::string::npos) << error;
  EXPECT_EQ(error.find("flavors[0].vcpus", first + 1), std::string::npos) << error;
}

TEST_F(AllInOneTest, AStateFolderInUseIsRefusedAndTheFirstOneGoesOn) {
  Start();
  EXPECT_EQ(StartError(options_),
            "FAILED_PRECONDITION: state_dir: another agent uses " + options_.state_dir + "/agent");
  ASSERT_TRUE(AwaitHost());
  grpc::Status created = Create("vm", "small");
  ASSERT_TRUE(created.ok()) << created.error_message();
  EXPECT_TRUE(AwaitRunning("vm"));
  Delete("vm");
  EXPECT_TRUE(Await([&] { return Claims() == 0; }));
}

TEST_F(AllInOneTest, WrongFoldersAndConfigurationsAreNamed) {
  AllInOne::Options options = options_;
  options.state_dir = "/proc/version/state";
  EXPECT_NE(StartError(options).find("state-dir: make the state folder /proc/version/state"),
            std::string::npos)
      << StartError(options);
  options = options_;
  options.config = "/no/such/folder";
  EXPECT_EQ(StartError(options), "NOT_FOUND: config: there is no folder or file \"/no/such/folder\"");
  Put("agent.yaml", "device_spec:\n  - {devname: eth0}\n");
  EXPECT_NE(StartError(options_).find("agent.yaml: devname is refused"), std::string::npos)
      << StartError(options_);
}

}  // namespace
}  // namespace berth
