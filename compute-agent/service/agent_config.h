#pragma once

#include <chrono>
#include <string>

#include "common/status.h"
#include "common/yaml.h"
#include "compute-agent/devices/host_config.h"
#include "compute-agent/instances/instance_policy.h"

namespace berth::agent {

// The agent's configuration file. Keys beside those of HostConfig, all optional:
//   name              the host's name in the fleet, default: the hostname
//   state_dir         where instances live, default /var/lib/berth/agent
//   vmm               the VMM program, default: berth-vmm beside the agent's program
//   shutdown_timeout  seconds (0 to 3600) that a guest has after the power button, default 30
//   start_timeout     seconds (1 to 86400) until the VMM must answer, default 600
//   restart           never, on-failure or always: VMs that end; default never
//   restart_limit     restarts in a row (1 to 1000), default 5
//   start_after_reboot  yes or no: VMs that ran when the host went down, default yes
//   unclaimed_instances  heal, report or stop: running VMs that placement does not know, default heal
//   metrics_listen    HOST:PORT that serves GET /metrics for Prometheus, without authentication; default none
//   report_interval   seconds (1 to 3600) between two looks at the hardware, default 60
struct AgentConfig {
  std::string name;
  std::string state_dir = "/var/lib/berth/agent";
  std::string vmm;
  std::string metrics_listen;
  std::chrono::milliseconds shutdown_timeout{30'000};
  std::chrono::milliseconds start_timeout{600'000};
  std::chrono::milliseconds report_interval{60'000};
  InstancePolicy policy;
  Unclaimed unclaimed = Unclaimed::kHeal;
  HostConfig host;
};

// All errors at once; unknown keys are refused with the nearest known one.
Result<AgentConfig> ParseAgentConfig(const YamlNode& root);
Result<AgentConfig> ReadAgentConfig(const std::string& path);

// "berth-vmm" in the folder of this program.
std::string DefaultVmmPath();

}  // namespace berth::agent
