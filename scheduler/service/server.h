#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/server.h>

#include "common/metrics.h"
#include "common/status.h"
#include "scheduler/request/catalogue.h"
#include "scheduler/service/grpc_service.h"
#include "scheduler/service/placement_client.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// The whole scheduler put together: catalogue, mirror, create path and gRPC service, for berth-scheduler and
// for the all-in-one program. Start and Stop belong to one thread.
class SchedulerServer {
 public:
  struct Options {
    std::string listen;  // "host:port" of the scheduler's own gRPC server (port 0: any); empty: none, the
                         // owner registers service() with a server of its own
    std::string config_folder;   // flavors*.yaml, aliases*.yaml, scheduler.yaml
    std::string placement = {};  // where placement is, for the log
  };

  // Begins to watch placement at once; calls are answered with UNAVAILABLE until its state is known.
  // kInvalidArgument: the catalogue, with every error; kUnavailable: the address can not be listened on.
  static Result<std::unique_ptr<SchedulerServer>> Start(const Options& options,
                                                        std::unique_ptr<PlacementClient> placement);
  static Result<std::unique_ptr<SchedulerServer>> Start(const Options& options,
                                                        std::shared_ptr<grpc::Channel> placement);
  // Stops.
  ~SchedulerServer();

  int port() const { return port_; }  // 0 without a server of its own
  grpc::Service& service() { return service_; }
  Scheduler& scheduler() { return scheduler_; }
  MetricsRegistry& metrics() { return metrics_; }

  // Answers what waits, then stops serving. Idempotent. An owner that registered service() calls this before
  // shutting its own server down.
  void Stop();

 private:
  SchedulerServer(std::shared_ptr<const Catalogue> catalogue, HostPolicy policy,
                  std::unique_ptr<PlacementClient> placement);
  Status Listen(const std::string& address);

  std::unique_ptr<PlacementClient> placement_;
  MetricsRegistry metrics_;
  Scheduler scheduler_;
  GrpcService service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace berth::scheduler
