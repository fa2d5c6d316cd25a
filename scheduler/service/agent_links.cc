#include "scheduler/service/agent_links.h"

#include <grpcpp/client_context.h>

#include <chrono>

#include "placement/client/channel.h"
#include "placement/wire/status.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxLinks = 1024;
constexpr std::chrono::seconds kCallTimeout(10);

}  // namespace

std::shared_ptr<v1::Agent::Stub> AgentLinks::To(const std::string& endpoint) {
  std::lock_guard lock(mutex_);
  auto known = stubs_.find(endpoint);
  if (known != stubs_.end()) return known->second;
  if (stubs_.size() >= kMaxLinks) stubs_.clear();
  return stubs_[endpoint] = v1::Agent::NewStub(placement::MakeChannel(endpoint));
}

Status AgentLinks::Act(const std::string& endpoint, const Uuid& instance, v1::InstanceAction action) {
  if (endpoint.empty()) return Unavailable("the host's agent has told no address");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  v1::ControlInstanceRequest request;
  request.set_instance(instance.ToString());
  request.set_action(action);
  v1::ControlInstanceResponse response;
  return wire::FromGrpc(To(endpoint)->ControlInstance(&context, request, &response), context);
}

Status AgentLinks::Start(const std::string& endpoint, const Uuid& instance) {
  return Act(endpoint, instance, v1::INSTANCE_ACTION_START);
}

Status AgentLinks::Stop(const std::string& endpoint, const Uuid& instance) {
  return Act(endpoint, instance, v1::INSTANCE_ACTION_STOP);
}

Result<std::vector<CarriedDisk>> AgentLinks::Disks(const std::string& endpoint, const Uuid& instance) {
  if (endpoint.empty()) return Unavailable("the host's agent has told no address");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  v1::GetInstanceRuntimeRequest request;
  request.set_instance(instance.ToString());
  v1::GetInstanceRuntimeResponse response;
  TRY(wire::FromGrpc(To(endpoint)->GetInstanceRuntime(&context, request, &response), context));
  std::vector<CarriedDisk> disks;
  for (const v1::AttachedDisk& disk : response.disks()) {
    if (!disk.leaving())
      disks.push_back({disk.id(), disk.path(), disk.readonly(), disk.direct(), disk.serial()});
  }
  return disks;
}

Status AgentLinks::AttachDisk(const std::string& endpoint, const Uuid& instance, const CarriedDisk& disk) {
  if (endpoint.empty()) return Unavailable("the host's agent has told no address");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  v1::AttachDiskRequest request;
  request.set_instance(instance.ToString());
  request.mutable_disk()->set_id(disk.id);
  request.mutable_disk()->set_path(disk.path);
  request.mutable_disk()->set_readonly(disk.readonly);
  request.mutable_disk()->set_direct(disk.direct);
  request.mutable_disk()->set_serial(disk.serial);
  v1::AttachDiskResponse response;
  return wire::FromGrpc(To(endpoint)->AttachDisk(&context, request, &response), context);
}

}  // namespace berth::scheduler
