#include "compute-agent/service/grpc_service.h"

#include <utility>

#include "compute-agent/service/console_stream.h"
#include "placement/wire/fields.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

constexpr size_t kMaxWaiting = 256;

}  // namespace

GrpcService::GrpcService(Reconciler& reconciler, ConsoleHub& consoles)
    : reconciler_(reconciler), consoles_(consoles), worker_([this] { Run(); }) {}

GrpcService::~GrpcService() {
  Stop();
}

void GrpcService::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (worker_.joinable()) worker_.join();
}

void GrpcService::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput>* GrpcService::Console(
    grpc::CallbackServerContext* context) {
  return ConsoleStream::Open(context, consoles_);
}

grpc::ServerUnaryReactor* GrpcService::GetInstanceRuntime(grpc::CallbackServerContext* context,
                                                          const v1::GetInstanceRuntimeRequest* request,
                                                          v1::GetInstanceRuntimeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::lock_guard lock(mutex_);
  if (stopping_ || jobs_.size() >= kMaxWaiting) {
    reactor->Finish(wire::ToGrpc(context, {StatusCode::kUnavailable, "the agent is stopping or overloaded"}));
    return reactor;
  }
  jobs_.emplace_back([this, context, request, response, reactor] {
    reactor->Finish(wire::ToGrpc(context, ReadRuntime(*request, response)));
  });
  changed_.notify_one();
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
