#include "scheduler/service/grpc_service.h"

#include <utility>

#include "placement/wire/claim.h"
#include "placement/wire/status.h"
#include "scheduler/service/wire.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxWaiting = 4096;
constexpr size_t kMaxQuestions = 64;
// Below gRPC's default of 8 KiB for all metadata of a call, with room for the message and the error detail.
constexpr size_t kMaxNoFit = 4096;

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, const Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(wire::ToGrpc(context, status));
  return reactor;
}

}  // namespace

GrpcService::GrpcService(Scheduler& scheduler)
    : scheduler_(scheduler),
      queue_(kMaxWaiting),
      advice_(kMaxQuestions),
      live_(kMaxQuestions),
      watches_(Unavailable("the scheduler is stopping")) {}

grpc::ServerUnaryReactor* GrpcService::EnqueueOn(WorkQueue& queue, grpc::CallbackServerContext* context,
                                                 std::function<grpc::Status()> job) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  bool queued = queue.Push([context, reactor, job = std::move(job)] {
    if (context->IsCancelled()) {
      reactor->Finish(grpc::Status::CANCELLED);
    } else {
      reactor->Finish(job());
    }
  });
  if (!queued)
    reactor->Finish(wire::ToGrpc(context, Unavailable("the scheduler is stopping or has too much to do")));
  return reactor;
}

grpc::ServerUnaryReactor* GrpcService::CreateInstance(grpc::CallbackServerContext* context,
                                                      const v1::CreateInstanceRequest* request,
                                                      v1::CreateInstanceResponse* response) {
  auto parsed = RequestFromProto(*request);
  if (!parsed.has_value()) return Finish(context, parsed.error());
  return Enqueue(context, [this, context, response, asked = std::move(*parsed)] {
    InstanceAnswer answer = scheduler_.Create(asked);
    if (asked.dry_run) VerdictsToProto(answer.decision, response->mutable_verdicts());
    if (answer.claim) wire::ClaimToProto(*answer.claim, response->mutable_claim());
    if (answer.status.ok()) response->set_host_name(answer.host_name);
    // Without hosts there are no reasons, and so no detail.
    if (answer.status.code() == StatusCode::kResourceExhausted && !answer.decision.refusals.empty()) {
      context->AddTrailingMetadata(kNoFitKey, NoFitDetail(answer.decision, kMaxNoFit));
    }
    return wire::ToGrpc(context, answer.status);
  });
}

grpc::ServerUnaryReactor* GrpcService::GetInstance(grpc::CallbackServerContext* context,
                                                   const v1::GetInstanceRequest* request,
                                                   v1::GetInstanceResponse* response) {
  auto found = scheduler_.Find(request->instance());
  if (!found.has_value()) return Finish(context, found.error());
  wire::ClaimToProto(*found->claim, response->mutable_claim());
  response->set_host_name(found->host_name);
  response->set_agent_endpoint(found->agent_endpoint);
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* GrpcService::ListInstances(grpc::CallbackServerContext* context,
                                                     const v1::ListInstancesRequest* /*request*/,
                                                     v1::ListInstancesResponse* response) {
  if (Status ready = scheduler_.CheckReady(); !ready.ok()) return Finish(context, ready);
  for (const Mirror::FoundClaim& found : scheduler_.List()) {
    auto* entry = response->add_instances();
    wire::ClaimToProto(*found.claim, entry->mutable_claim());
    entry->set_host_name(found.host_name);
  }
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* GrpcService::DeleteInstance(grpc::CallbackServerContext* context,
                                                      const v1::DeleteInstanceRequest* request,
                                                      v1::DeleteInstanceResponse* /*response*/) {
  return Enqueue(context, [this, context, instance = request->instance()] {
    return wire::ToGrpc(context, scheduler_.Delete(instance).status());
  });
}

grpc::ServerUnaryReactor* GrpcService::ListFlavors(grpc::CallbackServerContext* context,
                                                   const v1::ListFlavorsRequest* /*request*/,
                                                   v1::ListFlavorsResponse* response) {
  FlavorsToProto(scheduler_.catalogue(), response);
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* GrpcService::ListAliases(grpc::CallbackServerContext* context,
                                                   const v1::ListAliasesRequest* /*request*/,
                                                   v1::ListAliasesResponse* response) {
  AliasesToProto(scheduler_.catalogue(), response);
  return Finish(context, OkStatus());
}

}  // namespace berth::scheduler
