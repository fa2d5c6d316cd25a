#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "berth/v1/agent.grpc.pb.h"
#include "common/status.h"
#include "common/uuid.h"
#include "scheduler/service/agent_control.h"

namespace berth::scheduler {

// Agents by their "host:port". Channels are kept, at most 1024 of them. Calls end after 10 s with
// kDeadlineExceeded. Thread-safe.
class AgentLinks final : public AgentControl {
 public:
  // Shared: a call under way outlives the link.
  std::shared_ptr<v1::Agent::Stub> To(const std::string& endpoint);

  Status Start(const std::string& endpoint, const Uuid& instance) override;
  Status Stop(const std::string& endpoint, const Uuid& instance) override;
  Result<std::vector<CarriedDisk>> Disks(const std::string& endpoint, const Uuid& instance) override;
  Status AttachDisk(const std::string& endpoint, const Uuid& instance, const CarriedDisk& disk) override;

 private:
  Status Act(const std::string& endpoint, const Uuid& instance, v1::InstanceAction action);

  std::mutex mutex_;  // guards stubs_
  std::map<std::string, std::shared_ptr<v1::Agent::Stub>> stubs_;
};

}  // namespace berth::scheduler
