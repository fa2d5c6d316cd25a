// Calls about instances that exist: those that agents answer are passed on to them; moves have a worker of
// their own, since they wait for agents.
#include <chrono>
#include <utility>

#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/status.h"
#include "scheduler/service/advice_wire.h"
#include "scheduler/service/grpc_service.h"

namespace berth::scheduler {
namespace {

constexpr std::chrono::seconds kLongest(30);

v1::MovePhase PhaseToProto(MovePhase phase) {
  switch (phase) {
    case MovePhase::kNone:
      return v1::MOVE_PHASE_NONE;
    case MovePhase::kStopping:
      return v1::MOVE_PHASE_STOPPING;
    case MovePhase::kStarting:
      return v1::MOVE_PHASE_STARTING;
    case MovePhase::kDecide:
      return v1::MOVE_PHASE_DECIDE;
    case MovePhase::kEnding:
      return v1::MOVE_PHASE_ENDING;
  }
  return v1::MOVE_PHASE_UNSPECIFIED;
}

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context, const Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(wire::ToGrpc(context, status));
  return reactor;
}

// A call under way to an agent.
template <class Request>
struct PassedOn {
  std::unique_ptr<grpc::ClientContext> context;
  std::shared_ptr<v1::Agent::Stub> agent;  // shared with the links
  Request request;
};

// Answers as the agent at `endpoint` does. `start` begins the asynchronous call.
template <class Request, class Start>
grpc::ServerUnaryReactor* PassOn(grpc::CallbackServerContext* context, AgentLinks& agents,
                                 const std::string& endpoint, Request request, Start start) {
  if (endpoint.empty()) return Refuse(context, Unavailable("the host's agent has told no address"));
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  // Shared: kept alive by the call's own end.
  auto call = std::make_shared<PassedOn<Request>>();
  call->context = grpc::ClientContext::FromCallbackServerContext(*context);
  call->context->set_deadline(std::min(context->deadline(), std::chrono::system_clock::now() + kLongest));
  call->agent = agents.To(endpoint);
  call->request = std::move(request);
  start(*call->agent->async(), call->context.get(), &call->request,
        [context, reactor, call, endpoint](const grpc::Status& answered) {
          Status status = wire::FromGrpc(answered, *call->context);
          if (status.code() == StatusCode::kUnavailable) {
            status = std::move(status).WithContext("the agent at " + endpoint);
          }
          reactor->Finish(wire::ToGrpc(context, status));
        });
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* GrpcService::ActOnInstance(grpc::CallbackServerContext* context,
                                                     const v1::ActOnInstanceRequest* request,
                                                     v1::ActOnInstanceResponse* /*response*/) {
  auto found = scheduler_.Find(request->instance());
  if (!found.has_value()) return Refuse(context, found.error());
  v1::ControlInstanceRequest asked;
  asked.set_instance(found->claim->consumer.ToString());
  asked.set_action(request->action());
  asked.set_dry_run(request->dry_run());
  // The agent's answer is empty; it lives as long as its call.
  auto answer = std::make_shared<v1::ControlInstanceResponse>();
  return PassOn(context, agents_, found->agent_endpoint, std::move(asked),
                [answer](auto& agent, auto* call, auto* message, auto done) {
                  agent.ControlInstance(call, message, answer.get(),
                                        [answer, done](const grpc::Status& status) { done(status); });
                });
}

grpc::ServerUnaryReactor* GrpcService::AttachDisk(grpc::CallbackServerContext* context,
                                                  const v1::AttachDiskRequest* request,
                                                  v1::AttachDiskResponse* response) {
  auto found = scheduler_.Find(request->instance());
  if (!found.has_value()) return Refuse(context, found.error());
  v1::AttachDiskRequest asked = *request;
  asked.set_instance(found->claim->consumer.ToString());
  return PassOn(context, agents_, found->agent_endpoint, std::move(asked),
                [response](auto& agent, auto* call, auto* message, auto done) {
                  agent.AttachDisk(call, message, response, std::move(done));
                });
}

grpc::ServerUnaryReactor* GrpcService::DetachDisk(grpc::CallbackServerContext* context,
                                                  const v1::DetachDiskRequest* request,
                                                  v1::DetachDiskResponse* response) {
  auto found = scheduler_.Find(request->instance());
  if (!found.has_value()) return Refuse(context, found.error());
  v1::DetachDiskRequest asked = *request;
  asked.set_instance(found->claim->consumer.ToString());
  return PassOn(context, agents_, found->agent_endpoint, std::move(asked),
                [response](auto& agent, auto* call, auto* message, auto done) {
                  agent.DetachDisk(call, message, response, std::move(done));
                });
}

grpc::ServerUnaryReactor* GrpcService::CheckHost(grpc::CallbackServerContext* context,
                                                 const v1::CheckHostRequest* request,
                                                 v1::CheckHostResponse* response) {
  auto endpoint = scheduler_.AgentOf(request->host());
  if (!endpoint.has_value()) return Refuse(context, endpoint.error());
  return PassOn(context, agents_, *endpoint, *request,
                [response](auto& agent, auto* call, auto* message, auto done) {
                  agent.CheckHost(call, message, response, std::move(done));
                });
}

grpc::ServerUnaryReactor* GrpcService::AttachDevice(grpc::CallbackServerContext* context,
                                                    const v1::AttachDeviceRequest* request,
                                                    v1::AttachDeviceResponse* response) {
  return EnqueueOn(live_, context, [this, context, request, response]() -> grpc::Status {
    std::optional<PciAddress> address;
    if (!request->address().empty()) {
      auto parsed = wire::ReadAddress(request->address(), "address");
      if (!parsed.has_value()) return wire::ToGrpc(context, parsed.error());
      address = *parsed;
    }
    auto device = scheduler_.AttachDevice(request->instance(), request->alias(), address, request->dry_run());
    if (device.has_value()) wire::DeviceBindingToProto(*device, response->mutable_device());
    return wire::ToGrpc(context, device.status());
  });
}

grpc::ServerUnaryReactor* GrpcService::DetachDevice(grpc::CallbackServerContext* context,
                                                    const v1::DetachDeviceRequest* request,
                                                    v1::DetachDeviceResponse* /*response*/) {
  return EnqueueOn(live_, context, [this, context, request]() -> grpc::Status {
    auto address = wire::ReadAddress(request->address(), "address");
    if (!address.has_value()) return wire::ToGrpc(context, address.error());
    return wire::ToGrpc(context, scheduler_.DetachDevice(request->instance(), *address, request->dry_run()));
  });
}

grpc::ServerUnaryReactor* GrpcService::MoveInstance(grpc::CallbackServerContext* context,
                                                    const v1::MoveInstanceRequest* request,
                                                    v1::MoveInstanceResponse* response) {
  return EnqueueOn(live_, context, [this, context, request, response]() -> grpc::Status {
    auto wish = QuestionFromProto(request->wish(), request->host());
    if (!wish.has_value()) return wire::ToGrpc(context, wish.error());
    MoveRequest move{.instance = request->instance(),
                     .flavor = std::move(wish->flavor),
                     .image_properties = std::move(wish->image_properties),
                     .ports = std::move(wish->ports),
                     .host = std::move(wish->host),
                     .evacuate = request->evacuate(),
                     .dry_run = request->dry_run(),
                     .availability_zone = std::move(wish->availability_zone),
                     .project = std::move(wish->project)};
    auto answer = scheduler_.Move(move, agents_);
    if (!answer.has_value()) return wire::ToGrpc(context, answer.error());
    response->set_phase(PhaseToProto(answer->phase));
    response->set_host_name(answer->host_name);
    wire::ClaimToProto(answer->claim, response->mutable_claim());
    return grpc::Status::OK;
  });
}

grpc::ServerUnaryReactor* GrpcService::ConfirmMove(grpc::CallbackServerContext* context,
                                                   const v1::ConfirmMoveRequest* request,
                                                   v1::ConfirmMoveResponse* response) {
  return EnqueueOn(live_, context, [this, context, request, response]() -> grpc::Status {
    auto phase = scheduler_.ConfirmMove(request->instance(), request->dry_run());
    if (phase.has_value()) response->set_phase(PhaseToProto(*phase));
    return wire::ToGrpc(context, phase.status());
  });
}

grpc::ServerUnaryReactor* GrpcService::RevertMove(grpc::CallbackServerContext* context,
                                                  const v1::RevertMoveRequest* request,
                                                  v1::RevertMoveResponse* response) {
  return EnqueueOn(live_, context, [this, context, request, response]() -> grpc::Status {
    auto phase = scheduler_.RevertMove(request->instance(), agents_, request->dry_run());
    if (phase.has_value()) response->set_phase(PhaseToProto(*phase));
    return wire::ToGrpc(context, phase.status());
  });
}

}  // namespace berth::scheduler
