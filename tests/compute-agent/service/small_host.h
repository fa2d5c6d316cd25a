#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "compute-agent/service/server.h"
#include "placement/server.h"
#include "tests/compute-agent/instances/claims.h"
#include "tests/fakes/fake_sysfs.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/grpc/placement_client.h"

namespace berth::agent {

// Asks again until it is so: what clients of an asynchronous system do.
template <class Condition>
bool Await(Condition condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// A real placement on loopback and a real agent on a made-up host "host1"; only the VMM is a fake. The agent
// can be ended and started again, with another configuration or other hardware.
class SmallHost : public testing::Test {
 protected:
  SmallHost() {
    // Node 0 and CPU 0 exist on every machine that runs this: the fake VMM binds to them for real.
    // Devices are bound to vfio-pci from boot on: nobody here would answer a write to a driver's bind file.
    host_.Iommu();
    host_.Hostname("host1").Node(0).Socket(0).Cpus("0").Memory(GiB(4));
    auto placement = placement::PlacementServer::Open({.store = "sqlite:" + Path("placement.db")});
    if (!placement.has_value()) throw std::runtime_error(placement.error().ToString());
    placement_ = *std::move(placement);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(placement_->service());
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
    client_ = std::make_unique<placement::testing::PlacementClient>(channel_);
  }
  ~SmallHost() override {
    for (const std::string& name : names_) (void)client_->ReleaseClaim(name);
    if (agent_ != nullptr) Await([&] { return Claims().empty(); });
    agent_.reset();
    for (pid_t pid : Vms()) ::kill(pid, SIGKILL);  // only of a test that failed halfway
    placement_->PrepareShutdown();
    server_->Shutdown();
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  // (Re)starts the agent. What it refuses is returned; what placement makes it refuse comes to refused().
  Status Start(const std::string& yaml) {
    agent_.reset();
    host_.Write();
    TRY_ASSIGN(YamlNode root, ParseYaml(yaml, "agent.yaml"));
    AgentServer::Options options;
    TRY_ASSIGN(options.config, ParseAgentConfig(root));
    options.root = host_.path();
    options.config.state_dir = Path("agent");
    options.config.vmm = FAKE_VMM;
    options.config.shutdown_timeout = std::chrono::milliseconds(200);
    options.on_refused = [this](const Status& status) {
      std::lock_guard lock(mutex_);
      refused_ = status;
    };
    {
      std::lock_guard lock(mutex_);
      refused_ = OkStatus();
    }
    TRY_ASSIGN(agent_, AgentServer::Create(options));
    agent_->Begin(channel_, "127.0.0.1:1");
    return OkStatus();
  }
  Status refused() {
    std::lock_guard lock(mutex_);
    return refused_;
  }

  v1::Host Host() { return client_->GetHost("host1").value_or(v1::GetHostResponse()).host(); }
  std::vector<v1::Claim> Claims() {
    auto response = client_->GetHost("host1").value_or(v1::GetHostResponse());
    return {response.claims().begin(), response.claims().end()};
  }
  // Addresses of the assignable devices that placement knows, blank-separated.
  std::string Assignable() {
    std::string text;
    v1::Host host = Host();
    for (const v1::Device& device : host.devices()) {
      if (device.assignable()) text += (text.empty() ? "" : " ") + device.address();
    }
    return text;
  }
  bool AwaitAssignable(const std::string& expected) {
    return Await([&] { return Assignable() == expected; });
  }
  // An instance that holds the device at `address`.
  Status CreateInstance(const std::string& name, const std::string& address) {
    placement::Claim claim = TestClaim(name, 1, 16 << 20);
    TRY_ASSIGN(claim.host, Uuid::Parse(Host().uuid()));
    if (!address.empty()) claim.devices = {{0, *PciAddress::Parse(address), "device", std::nullopt}};
    names_.push_back(name);
    return client_->CreateClaim(claim).status();
  }
  bool AwaitState(const std::string& name, v1::InstanceState state) {
    return Await([&] {
      for (const v1::Claim& claim : Claims()) {
        if (claim.name() == name) return claim.status().state() == state;
      }
      return false;
    });
  }
  void DeleteInstance(const std::string& name) {
    EXPECT_TRUE(client_->ReleaseClaim(name).has_value());
    EXPECT_TRUE(Await([&] {
      for (const v1::Claim& claim : Claims()) {
        if (claim.name() == name) return false;
      }
      return true;
    }));
  }
  // Processes whose command line names the agent's folder.
  std::vector<pid_t> Vms() const {
    std::vector<pid_t> vms;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      pid_t pid = std::atoi(entry.path().filename().c_str());
      if (pid <= 0) continue;
      Result<std::string> line = ReadFile(entry.path() / "cmdline");
      if (line.has_value() && line->find("--api-socket=" + Path("agent")) != std::string::npos)
        vms.push_back(pid);
    }
    return vms;
  }

  fakes::FakeSysfs host_;
  fakes::TempFolder folder_;
  std::unique_ptr<placement::PlacementServer> placement_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<placement::testing::PlacementClient> client_;
  std::unique_ptr<AgentServer> agent_;
  std::vector<std::string> names_;
  std::mutex mutex_;
  Status refused_;
};

}  // namespace berth::agent
