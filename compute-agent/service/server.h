#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/status.h"
#include "compute-agent/devices/card_trust.h"
#include "compute-agent/devices/report_builder.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/reconciler.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/networks/tap_links.h"
#include "compute-agent/preflight/memory_watch.h"
#include "compute-agent/service/agent_config.h"
#include "compute-agent/service/agent_metrics.h"
#include "compute-agent/service/grpc_service.h"
#include "compute-agent/service/metrics_front.h"
#include "compute-agent/service/placement_client.h"
#include "compute-agent/sriov/netlink_vf_links.h"

namespace berth::agent {

// The whole agent put together, for berth-agent and for the all-in-one program. Create, Begin and Stop belong
// to one thread. Ending it, or the process, leaves the VMs running.
class AgentServer {
 public:
  struct Options {
    AgentConfig config;
    std::string root = "/";  // holds sys/, proc/, etc/ and dev/
    // Placement refuses this host because of what its claims hold, and the agent must not go on (seed 002:
    // "will refuse to start"). Called once, from a thread of the agent, before any report was accepted.
    std::function<void(const Status&)> on_refused = {};
    // Called between the steps of what is done to instances: where an agent may end without losing anything.
    // For tests, which end it there.
    std::function<void()> between_steps = {};
  };

  // Reads the hardware, checks the configuration against it, adopts the VMs that run. Everything that the
  // configuration gets wrong is refused here (seed 002: "will refuse to start").
  static Result<std::unique_ptr<AgentServer>> Create(const Options& options);
  ~AgentServer();  // stops

  // What is reported.
  const placement::HostReport& report() const { return built_.report; }
  // To be registered with the owner's gRPC server before Begin, unless Listen is used.
  grpc::Service& service() { return *service_; }
  // Serves on "host:port" of its own (port 0: any). kUnavailable: the address cannot be listened on.
  Status Listen(const std::string& address);
  int port() const { return port_; }
  // Serves the metrics where the configuration says (`metrics_listen`); of no effect if it says nothing.
  Status ServeMetrics();
  int metrics_port() const { return metrics_front_ == nullptr ? 0 : metrics_front_->port(); }
  std::string MetricsText();  // thread-safe

  // Begins to report and to follow claims. `endpoint` is the host:port under which clients find this agent;
  // an address of all interfaces is told to them with this host's name.
  void Begin(std::shared_ptr<grpc::Channel> placement, const std::string& endpoint);
  void Stop();

 private:
  class Sink;

  AgentServer(const Options& options, Root root);
  HostInventory ReadHost() const;
  PreflightReport CheckNow() const;
  void ReportLoop();
  void Look();          // at the hardware
  bool LookAtMemory();  // whether a node's memory began, or ceased, to be low
  void Publish();       // for MetricsText
  Status Send();        // the report
  Result<BuiltReport> BuildNow(const HostInventory& inventory) const;
  void HandleRefusal(const Status& refused);
  Status AwaitUsedDevicesReported();

  Options options_;
  Root root_;
  HostIdentity identity_;
  PageCounts foreign_;  // huge pages that others used when the agent started
  HostSettings settings_;
  std::vector<std::string> vf_warnings_;  // of making VFs, at the start
  BuiltReport built_;                     // of the reporting thread after Begin
  MemoryWatch memory_watch_;              // likewise

  ConsoleHub consoles_;
  NetlinkVfLinks vf_links_;
  KernelTapLinks tap_links_;
  // Forwards to the client that Begin makes; until then placement is unreachable.
  class Reporter;
  std::unique_ptr<Reporter> reporter_;
  std::unique_ptr<Reconciler> reconciler_;
  UsedDevices used_devices_{""};
  SecureCards secure_cards_{"", ""};
  bool unsent_ = true;     // built_ is not (or no longer) what placement has; of the reporting thread
  bool accepted_ = false;  // placement took a report; likewise
  std::string refusal_;    // last logged; likewise
  std::unique_ptr<GrpcService> service_;
  std::unique_ptr<PlacementClient> client_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  std::unique_ptr<AgentMetrics> metrics_;
  std::unique_ptr<MetricsFront> metrics_front_;

  std::mutex mutex_;  // guards all that follows but the thread
  std::condition_variable changed_;
  bool stopping_ = false;
  bool report_now_ = false;                       // placement has a new life: it may not know this host
  bool look_now_ = false;                         // what is to be reported has changed
  std::set<PciAddress> used_reported_;            // one-time-use devices that placement knows as withheld
  std::vector<placement::Device> shown_devices_;  // of the last report, for metrics; likewise the next
  std::map<placement::NumaNode, uint64_t> shown_memory_;
  std::set<placement::NumaNode> shown_low_;
  size_t shown_warnings_ = 0;
  bool shown_reported_ = false;
  std::thread reporting_;
};

// The host's UUID: read from state_dir/host-uuid, or made and kept there.
Result<Uuid> HostUuid(const std::string& state_dir);

}  // namespace berth::agent
