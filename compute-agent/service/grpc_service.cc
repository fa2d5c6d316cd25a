#include "compute-agent/service/grpc_service.h"

#include <utility>

#include "compute-agent/service/console_stream.h"
#include "placement/wire/fields.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

constexpr size_t kMaxWaiting = 256;

Result<Action> ReadAction(v1::InstanceAction action) {
  switch (action) {
    case v1::INSTANCE_ACTION_START:
      return Action::kStart;
    case v1::INSTANCE_ACTION_STOP:
      return Action::kStop;
    case v1::INSTANCE_ACTION_REBOOT:
      return Action::kReboot;
    case v1::INSTANCE_ACTION_RESET:
      return Action::kReset;
    case v1::INSTANCE_ACTION_PAUSE:
      return Action::kPause;
    case v1::INSTANCE_ACTION_RESUME:
      return Action::kResume;
    default:
      return InvalidArgument("action " + std::to_string(static_cast<int>(action)) + " is unknown", "action",
                             "START, STOP, REBOOT, RESET, PAUSE or RESUME");
  }
}

void PreflightToProto(const PreflightReport& report, v1::CheckHostResponse* out) {
  for (const Finding& finding : report.findings) {
    v1::HostFinding* one = out->add_findings();
    one->set_id(finding.id);
    one->set_scope(ScopeName(finding.scope));
    one->set_severity(SeverityName(finding.severity));
    one->set_found(finding.found);
    one->set_needed(finding.needed);
    one->set_repair(finding.repair);
  }
  out->set_confidential_type(ConfidentialKindName(report.kind));
  for (const auto& [node, bytes] : report.secure.bytes) {
    v1::SecureMemory* memory = out->add_secure_memory();
    memory->set_node(node);
    memory->set_bytes(bytes);
  }
  out->set_guests(report.Passed(Scope::kGuests));
  out->set_devices(report.Passed(Scope::kDevices));
  out->set_confidential(report.kind != ConfidentialKind::kNone && report.Passed(Scope::kConfidential));
}

}  // namespace

GrpcService::GrpcService(Reconciler& reconciler, ConsoleHub& consoles, std::function<PreflightReport()> check)
    : reconciler_(reconciler), consoles_(consoles), check_(std::move(check)), jobs_(kMaxWaiting) {}

void GrpcService::Stop() {
  jobs_.Stop();
}

grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput>* GrpcService::Console(
    grpc::CallbackServerContext* context) {
  return ConsoleStream::Open(context, consoles_);
}

grpc::ServerUnaryReactor* GrpcService::Enqueue(grpc::CallbackServerContext* context,
                                               std::function<Status()> job) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  bool accepted =
      jobs_.Push([context, reactor, job = std::move(job)] { reactor->Finish(wire::ToGrpc(context, job())); });
  if (!accepted) {
    reactor->Finish(wire::ToGrpc(context, {StatusCode::kUnavailable, "the agent is stopping or overloaded"}));
  }
  return reactor;
}

grpc::ServerUnaryReactor* GrpcService::GetInstanceRuntime(grpc::CallbackServerContext* context,
                                                          const v1::GetInstanceRuntimeRequest* request,
                                                          v1::GetInstanceRuntimeResponse* response) {
  return Enqueue(context, [this, request, response] { return ReadRuntime(*request, response); });
}

grpc::ServerUnaryReactor* GrpcService::ControlInstance(grpc::CallbackServerContext* context,
                                                       const v1::ControlInstanceRequest* request,
                                                       v1::ControlInstanceResponse*) {
  return Enqueue(context, [this, request]() -> Status {
    TRY_ASSIGN(Uuid instance, wire::ReadUuid(request->instance(), "instance"));
    TRY_ASSIGN(Action action, ReadAction(request->action()));
    return reconciler_.Act(instance, action, request->dry_run());
  });
}

grpc::ServerUnaryReactor* GrpcService::AttachDisk(grpc::CallbackServerContext* context,
                                                  const v1::AttachDiskRequest* request,
                                                  v1::AttachDiskResponse*) {
  return Enqueue(context, [this, request]() -> Status {
    TRY_ASSIGN(Uuid instance, wire::ReadUuid(request->instance(), "instance"));
    const v1::AttachedDisk& disk = request->disk();
    return reconciler_.AttachDisk(
        instance, {disk.id(), disk.path(), disk.readonly(), disk.direct(), disk.serial(), false},
        request->dry_run());
  });
}

grpc::ServerUnaryReactor* GrpcService::DetachDisk(grpc::CallbackServerContext* context,
                                                  const v1::DetachDiskRequest* request,
                                                  v1::DetachDiskResponse*) {
  return Enqueue(context, [this, request]() -> Status {
    TRY_ASSIGN(Uuid instance, wire::ReadUuid(request->instance(), "instance"));
    return reconciler_.DetachDisk(instance, request->disk(), request->dry_run());
  });
}

grpc::ServerUnaryReactor* GrpcService::CheckHost(grpc::CallbackServerContext* context,
                                                 const v1::CheckHostRequest*,
                                                 v1::CheckHostResponse* response) {
  return Enqueue(context, [this, response] {
    PreflightToProto(check_(), response);
    return OkStatus();
  });
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
  for (const DiskAttachment& disk : runtime.disks) {
    v1::AttachedDisk* one = response->add_disks();
    one->set_id(disk.id);
    one->set_path(disk.path);
    one->set_readonly(disk.readonly);
    one->set_direct(disk.direct);
    one->set_serial(disk.serial);
    one->set_leaving(disk.leaving);
  }
  response->set_proven_at_ms(runtime.proven_at_ms);
  for (const std::string& violation : runtime.last_violations) response->add_last_violations(violation);
  return OkStatus();
}

}  // namespace berth::agent
