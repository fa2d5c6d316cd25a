#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "common/status.h"
#include "compute-agent/service/server.h"
#include "placement/rest_front.h"
#include "placement/server.h"
#include "scheduler/service/server.h"

namespace berth {

// Placement, scheduler and agent in one process, on one gRPC port and one embedded store: the program
// `berth`. Start and Stop belong to one thread. The parts speak with each other through a UNIX socket in the
// state folder, as they would over a network.
class AllInOne {
 public:
  struct Options {
    std::string state_dir = "/var/lib/berth";  // placement.db, berth.sock and agent/
    // A folder with flavors*.yaml, aliases*.yaml and agent.yaml (may be absent); or the agent's file, beside
    // which the others are.
    std::string config;
    std::string listen = "127.0.0.1:8778";  // port 0: any
    std::string rest_listen;                // the OpenStack Placement API, a loopback address; "": none
    std::string root = "/";
    std::string vmm;  // overrides the configuration
  };

  // Errors: kInvalidArgument with everything that is wrong in the configuration; kUnavailable: the address
  // cannot be listened on; kPermissionDenied, kFailedPrecondition: the state folder cannot be used, or is
  // used by another process.
  static Result<std::unique_ptr<AllInOne>> Start(const Options& options);
  ~AllInOne();  // stops; running VMs stay

  // Where clients find it: "host:port".
  const std::string& endpoint() const { return endpoint_; }
  // Of the REST API; "": there is none.
  std::string rest_endpoint() const { return rest_ == nullptr ? std::string() : rest_->endpoint(); }
  const placement::HostReport& host() const { return agent_->report(); }
  void Stop();

 private:
  AllInOne() = default;
  Status Serve(const Options& options, const std::string& socket);

  std::string endpoint_;
  std::unique_ptr<placement::PlacementServer> placement_;
  std::unique_ptr<placement::RestFront> rest_;
  std::unique_ptr<scheduler::SchedulerServer> scheduler_;
  std::unique_ptr<agent::AgentServer> agent_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace berth
