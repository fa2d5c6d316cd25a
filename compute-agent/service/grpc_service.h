#pragma once

#include "berth/v1/agent.grpc.pb.h"
#include "common/work_queue.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/reconciler.h"

namespace berth::agent {

// berth.v1.Agent over gRPC's callback API. No reactor blocks: what reads /proc runs on a thread of its own.
class GrpcService final : public v1::Agent::CallbackService {
 public:
  // Both must outlive the service.
  GrpcService(Reconciler& reconciler, ConsoleHub& consoles);

  // Answers what waits; later calls get kUnavailable. Call before shutting the server down.
  void Stop();

  grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput>* Console(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetInstanceRuntime(grpc::CallbackServerContext* context,
                                               const v1::GetInstanceRuntimeRequest* request,
                                               v1::GetInstanceRuntimeResponse* response) override;

 private:
  Status ReadRuntime(const v1::GetInstanceRuntimeRequest& request,
                     v1::GetInstanceRuntimeResponse* response) const;

  Reconciler& reconciler_;
  ConsoleHub& consoles_;
  WorkQueue jobs_;
};

}  // namespace berth::agent
