#pragma once

#include <functional>
#include <utility>

#include "berth/v1/scheduler.grpc.pb.h"
#include "common/work_queue.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// berth.v1.Scheduler over gRPC's callback API. No reactor blocks: calls that decide or change something run
// on one worker thread in the order in which they came; the others read the mirror.
class GrpcService final : public v1::Scheduler::CallbackService {
 public:
  // `scheduler` must outlive the service.
  explicit GrpcService(Scheduler& scheduler);

  // Answers what waits, then refuses calls that need the worker. Call before shutting the gRPC server down.
  void Stop() {
    queue_.Stop();
    advice_.Stop();
  }

  grpc::ServerUnaryReactor* CreateInstance(grpc::CallbackServerContext* context,
                                           const v1::CreateInstanceRequest* request,
                                           v1::CreateInstanceResponse* response) override;
  grpc::ServerUnaryReactor* GetInstance(grpc::CallbackServerContext* context,
                                        const v1::GetInstanceRequest* request,
                                        v1::GetInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ListInstances(grpc::CallbackServerContext* context,
                                          const v1::ListInstancesRequest* request,
                                          v1::ListInstancesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteInstance(grpc::CallbackServerContext* context,
                                           const v1::DeleteInstanceRequest* request,
                                           v1::DeleteInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ListFlavors(grpc::CallbackServerContext* context,
                                        const v1::ListFlavorsRequest* request,
                                        v1::ListFlavorsResponse* response) override;
  grpc::ServerUnaryReactor* ListAliases(grpc::CallbackServerContext* context,
                                        const v1::ListAliasesRequest* request,
                                        v1::ListAliasesResponse* response) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context, const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;
  grpc::ServerUnaryReactor* GetCapacity(grpc::CallbackServerContext* context,
                                        const v1::GetCapacityRequest* request,
                                        v1::GetCapacityResponse* response) override;

 private:
  // Runs `job` on the worker and finishes the call with what it returns.
  grpc::ServerUnaryReactor* Enqueue(grpc::CallbackServerContext* context, std::function<grpc::Status()> job) {
    return EnqueueOn(queue_, context, std::move(job));
  }
  static grpc::ServerUnaryReactor* EnqueueOn(WorkQueue& queue, grpc::CallbackServerContext* context,
                                             std::function<grpc::Status()> job);

  Scheduler& scheduler_;
  WorkQueue queue_;
  WorkQueue advice_;  // for questions about the whole fleet
};

}  // namespace berth::scheduler
