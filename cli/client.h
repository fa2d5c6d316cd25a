#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "berth/v1/agent.grpc.pb.h"
#include "berth/v1/placement.grpc.pb.h"
#include "berth/v1/scheduler.grpc.pb.h"
#include "cli/command.h"
#include "common/status.h"
#include "placement/wire/status.h"

namespace berth::cli {

// The field of errors about --endpoint; kInvalidArgument: it is no address.
inline constexpr char kEndpointField[] = "endpoint";

// The services behind one endpoint. Connects lazily; a call that finds nobody fails with kUnavailable, naming
// the endpoint.
class Client {
 public:
  explicit Client(const Context& context) : Client(context.endpoint, context.timeout_s) {}
  Client(std::string endpoint, double timeout_s);

  // Whether the endpoint is an address: gRPC would take a port that is too large modulo 65536.
  const Status& usable() const { return usable_; }

  v1::Placement::Stub& placement() { return *placement_; }
  v1::Scheduler::Stub& scheduler() { return *scheduler_; }
  v1::Agent::Stub& agent() { return *agent_; }

  // One unary call: Call(client.placement(), &v1::Placement::Stub::GetHost, request). `no_fit`, if given,
  // takes the reasons of a refused create.
  template <class Stub, class Request, class Response>
  Result<Response> Call(Stub& stub,
                        grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                        const Request& request, std::optional<v1::NoFit>* no_fit = nullptr) const {
    TRY(usable_);
    grpc::ClientContext call;
    Prepare(call);
    Response response;
    grpc::Status status = (stub.*method)(&call, request, &response);
    if (status.ok()) return response;
    if (no_fit != nullptr) *no_fit = NoFitOf(call);
    return Explained(stub, wire::FromGrpc(status, call));
  }
  // The same for the end of a stream: what a user can do about a service that is away, or another one.
  template <class Stub>
  Status Explained(const Stub& stub, Status status) const {
    return Explain(std::move(status), ServiceOf(stub));
  }

 private:
  void Prepare(grpc::ClientContext& call) const;
  Status Explain(Status status, const char* service) const;
  static const char* ServiceOf(const v1::Placement::Stub&) { return "placement (berth-placement)"; }
  static const char* ServiceOf(const v1::Scheduler::Stub&) { return "the scheduler (berth-scheduler)"; }
  static const char* ServiceOf(const v1::Agent::Stub&) { return "the agent (berth-agent)"; }
  static std::optional<v1::NoFit> NoFitOf(const grpc::ClientContext& call);

  std::string endpoint_;
  Status usable_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Placement::Stub> placement_;
  std::unique_ptr<v1::Scheduler::Stub> scheduler_;
  std::unique_ptr<v1::Agent::Stub> agent_;
};

}  // namespace berth::cli
