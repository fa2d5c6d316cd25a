#pragma once

#include <string>

#include "common/status.h"
#include "compute-agent/devices/report_builder.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/service/agent_config.h"

namespace berth::agent {

// The hardware below `root`. Whether KVM can be used is only tried on the machine itself; another tree is
// taken at its word.
HostInventory ReadInventory(const Root& root);

// A host whose VMM cannot be executed runs no guests, and says so.
void JudgeVmm(const std::string& vmm, placement::HostReport& report);

// What an agent with this configuration would report (--check). Nothing is changed, neither the host (VFs
// that would be made are told as warnings) nor the state folder, and an agent may run beside it. Errors:
// those with which the agent would not start.
Result<BuiltReport> CheckAgent(const AgentConfig& config, const std::string& root);

}  // namespace berth::agent
