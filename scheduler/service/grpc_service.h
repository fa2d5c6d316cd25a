#pragma once

#include <functional>
#include <utility>

#include "berth/v1/scheduler.grpc.pb.h"
#include "common/work_queue.h"
#include "scheduler/service/agent_links.h"
#include "scheduler/service/instance_source.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// berth.v1.Scheduler over gRPC's callback API. No reactor blocks: calls that decide or change something run
// on one worker thread in the order in which they came; the others read the mirror.
class GrpcService final : public v1::Scheduler::CallbackService {
 public:
  // `scheduler` must outlive the service.
  explicit GrpcService(Scheduler& scheduler);

  // Answers what waits, then refuses calls that need the worker, and ends those who watch. Call before
  // shutting the gRPC server down.
  void Stop() {
    queue_.Stop();
    advice_.Stop();
    live_.Stop();
    watches_.EndAll();
  }

  grpc::ServerUnaryReactor* CreateInstance(grpc::CallbackServerContext* context,
                                           const v1::CreateInstanceRequest* request,
                                           v1::CreateInstanceResponse* response) override;
  grpc::ServerUnaryReactor* CreateInstances(grpc::CallbackServerContext* context,
                                            const v1::CreateInstancesRequest* request,
                                            v1::CreateInstancesResponse* response) override;
  grpc::ServerBidiReactor<v1::CreateInstancesRequest, v1::CreateInstancesResponse>* StreamInstances(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* SelectDestinations(grpc::CallbackServerContext* context,
                                               const v1::SelectDestinationsRequest* request,
                                               v1::SelectDestinationsResponse* response) override;
  grpc::ServerWriteReactor<v1::InstanceEvent>* WatchInstances(
      grpc::CallbackServerContext* context, const v1::WatchInstancesRequest* request) override;
  grpc::ServerUnaryReactor* ListGroups(grpc::CallbackServerContext* context,
                                       const v1::ListGroupsRequest* request,
                                       v1::ListGroupsResponse* response) override;
  grpc::ServerUnaryReactor* DrainHost(grpc::CallbackServerContext* context,
                                      const v1::DrainHostRequest* request,
                                      v1::DrainHostResponse* response) override;
  grpc::ServerUnaryReactor* EnableHost(grpc::CallbackServerContext* context,
                                       const v1::EnableHostRequest* request,
                                       v1::EnableHostResponse* response) override;
  grpc::ServerUnaryReactor* ListAggregates(grpc::CallbackServerContext* context,
                                           const v1::ListAggregatesRequest* request,
                                           v1::ListAggregatesResponse* response) override;
  grpc::ServerUnaryReactor* GetInstance(grpc::CallbackServerContext* context,
                                        const v1::GetInstanceRequest* request,
                                        v1::GetInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ListInstances(grpc::CallbackServerContext* context,
                                          const v1::ListInstancesRequest* request,
                                          v1::ListInstancesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteInstance(grpc::CallbackServerContext* context,
                                           const v1::DeleteInstanceRequest* request,
                                           v1::DeleteInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ActOnInstance(grpc::CallbackServerContext* context,
                                          const v1::ActOnInstanceRequest* request,
                                          v1::ActOnInstanceResponse* response) override;
  grpc::ServerUnaryReactor* AttachDisk(grpc::CallbackServerContext* context,
                                       const v1::AttachDiskRequest* request,
                                       v1::AttachDiskResponse* response) override;
  grpc::ServerUnaryReactor* DetachDisk(grpc::CallbackServerContext* context,
                                       const v1::DetachDiskRequest* request,
                                       v1::DetachDiskResponse* response) override;
  grpc::ServerUnaryReactor* AttachDevice(grpc::CallbackServerContext* context,
                                         const v1::AttachDeviceRequest* request,
                                         v1::AttachDeviceResponse* response) override;
  grpc::ServerUnaryReactor* DetachDevice(grpc::CallbackServerContext* context,
                                         const v1::DetachDeviceRequest* request,
                                         v1::DetachDeviceResponse* response) override;
  grpc::ServerUnaryReactor* MoveInstance(grpc::CallbackServerContext* context,
                                         const v1::MoveInstanceRequest* request,
                                         v1::MoveInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ConfirmMove(grpc::CallbackServerContext* context,
                                        const v1::ConfirmMoveRequest* request,
                                        v1::ConfirmMoveResponse* response) override;
  grpc::ServerUnaryReactor* RevertMove(grpc::CallbackServerContext* context,
                                       const v1::RevertMoveRequest* request,
                                       v1::RevertMoveResponse* response) override;
  grpc::ServerUnaryReactor* CheckHost(grpc::CallbackServerContext* context,
                                      const v1::CheckHostRequest* request,
                                      v1::CheckHostResponse* response) override;
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
  AgentLinks agents_;  // before the workers that use it
  WorkQueue queue_;
  WorkQueue advice_;  // for questions about the whole fleet
  WorkQueue live_;    // for changes of instances that exist
  wire::EventStreams<v1::InstanceEvent> watches_;
};

}  // namespace berth::scheduler
