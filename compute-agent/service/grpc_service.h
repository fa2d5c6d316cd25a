#pragma once

#include <functional>

#include "berth/v1/agent.grpc.pb.h"
#include "common/work_queue.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/reconciler.h"
#include "compute-agent/preflight/preflight.h"

namespace berth::agent {

// berth.v1.Agent over gRPC's callback API. No reactor blocks: what reads /proc runs on a thread of its own.
class GrpcService final : public v1::Agent::CallbackService {
 public:
  // Both must outlive the service, as must what `check` uses: it checks the host anew, on the service's
  // thread.
  GrpcService(Reconciler& reconciler, ConsoleHub& consoles, std::function<PreflightReport()> check);

  // Answers what waits; later calls get kUnavailable. Call before shutting the server down.
  void Stop();

  grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput>* Console(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetInstanceRuntime(grpc::CallbackServerContext* context,
                                               const v1::GetInstanceRuntimeRequest* request,
                                               v1::GetInstanceRuntimeResponse* response) override;
  grpc::ServerUnaryReactor* ControlInstance(grpc::CallbackServerContext* context,
                                            const v1::ControlInstanceRequest* request,
                                            v1::ControlInstanceResponse* response) override;
  grpc::ServerUnaryReactor* AttachDisk(grpc::CallbackServerContext* context,
                                       const v1::AttachDiskRequest* request,
                                       v1::AttachDiskResponse* response) override;
  grpc::ServerUnaryReactor* DetachDisk(grpc::CallbackServerContext* context,
                                       const v1::DetachDiskRequest* request,
                                       v1::DetachDiskResponse* response) override;
  grpc::ServerUnaryReactor* CheckHost(grpc::CallbackServerContext* context,
                                      const v1::CheckHostRequest* request,
                                      v1::CheckHostResponse* response) override;

 private:
  // Runs `job` on the service's thread and finishes the call with what it returns.
  grpc::ServerUnaryReactor* Enqueue(grpc::CallbackServerContext* context, std::function<Status()> job);
  Status ReadRuntime(const v1::GetInstanceRuntimeRequest& request,
                     v1::GetInstanceRuntimeResponse* response) const;

  Reconciler& reconciler_;
  ConsoleHub& consoles_;
  std::function<PreflightReport()> check_;
  WorkQueue jobs_;
};

}  // namespace berth::agent
