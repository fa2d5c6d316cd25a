#include "compute-agent/service/grpc_service.h"

#include "compute-agent/service/console_stream.h"
#include "placement/wire/fields.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

constexpr size_t kMaxWaiting = 256;

}  // namespace

GrpcService::GrpcService(Reconciler& reconciler, ConsoleHub& consoles)
    : reconciler_(reconciler), consoles_(consoles), jobs_(kMaxWaiting) {}

void GrpcService::Stop() {
  jobs_.Stop();
}

grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput>* GrpcService::Console(
    grpc::CallbackServerContext* context) {
  return ConsoleStream::Open(context, consoles_);
}

grpc::ServerUnaryReactor* GrpcService::GetInstanceRuntime(grpc::CallbackServerContext* context,
                                                          const v1::GetInstanceRuntimeRequest* request,
                                                          v1::GetInstanceRuntimeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  bool accepted = jobs_.Push([this, context, request, response, reactor] {
    reactor->Finish(wire::ToGrpc(context, ReadRuntime(*request, response)));
  });
  if (!accepted) {
    reactor->Finish(wire::ToGrpc(context, {StatusCode::kUnavailable, "the agent is stopping or overloaded"}));
  }
  return reactor;
}

Status GrpcService::ReadRuntime(const v1::GetInstanceRuntimeRequest& request,
                                v1::GetInstanceRuntimeResponse* response) const {
  TRY_ASSIGN(Uuid instance, wire::ReadUuid(request.instance(), "instance"));
  TRY_ASSIGN(InstanceRuntime runtime, reconciler_.Runtime(instance));
  response->set_pid(static_cast<uint32_t>(runtime.pid));
  for (const VcpuThread& thread : runtime.placement.vcpus) {
    v1::VcpuRuntime* vcpu = response->add_vcpus();
    vcpu->set_vcpu(thread.vcpu);
    vcpu->set_tid(static_cast<uint32_t>(thread.tid));
    vcpu->set_cpus_allowed(thread.cpus_allowed.ToString());
  }
  for (const auto& [node, bytes] : runtime.placement.guest_memory) {
    v1::MemoryOnNode* memory = response->add_memory();
    memory->set_node(node);
    memory->set_bytes(bytes);
  }
  response->set_api_socket(runtime.api_socket);
  response->set_console_log(runtime.console_log);
  for (const std::string& violation : runtime.violations) response->add_violations(violation);
  return OkStatus();
}

}  // namespace berth::agent
