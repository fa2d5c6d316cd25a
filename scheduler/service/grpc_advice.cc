// The questions about the fleet: they may take long, so they have a worker of their own and hold up no
// create.
#include "placement/wire/status.h"
#include "scheduler/service/advice_wire.h"
#include "scheduler/service/grpc_service.h"

namespace berth::scheduler {

grpc::ServerUnaryReactor* GrpcService::Explain(grpc::CallbackServerContext* context,
                                               const v1::ExplainRequest* request,
                                               v1::ExplainResponse* response) {
  return EnqueueOn(advice_, context, [this, context, request, response]() -> grpc::Status {
    auto question = QuestionFromProto(request->wish(), request->host());
    if (!question.has_value()) return wire::ToGrpc(context, question.error());
    auto explanation = Advisor(scheduler_).Explain(*question, request->changes());
    if (!explanation.has_value()) return wire::ToGrpc(context, explanation.error());
    ExplanationToProto(*explanation, request->verdicts(), response);
    return grpc::Status::OK;
  });
}

grpc::ServerUnaryReactor* GrpcService::GetCapacity(grpc::CallbackServerContext* context,
                                                   const v1::GetCapacityRequest* request,
                                                   v1::GetCapacityResponse* response) {
  return EnqueueOn(advice_, context, [this, context, request, response]() -> grpc::Status {
    auto question = QuestionFromProto(request->wish(), request->host());
    if (!question.has_value()) return wire::ToGrpc(context, question.error());
    auto capacity = Advisor(scheduler_).Count(*question);
    if (!capacity.has_value()) return wire::ToGrpc(context, capacity.error());
    CapacityToProto(*capacity, response);
    return grpc::Status::OK;
  });
}

}  // namespace berth::scheduler
