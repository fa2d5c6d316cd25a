#pragma once

#include <cstddef>

#include "common/status.h"
#include "scheduler/explain/known_host.h"
#include "scheduler/rebalance/plan.h"

namespace berth::scheduler {

// Makes the moves of a plan one after another on claims and usage alone, with placement::CheckClaim as the
// only judge: each instance is where the plan says, keeps its vCPUs, memory and number of devices, and has
// its new place before it leaves the old one. Afterwards the request's claim can be made, or the host with
// this index holds nothing but what is stuck. Shares nothing with the planner.
Status CheckRoomPlan(const KnownHosts& hosts, const RebalancePlan& plan, const PlanOptions& options);
Status CheckDrainPlan(const KnownHosts& hosts, size_t host, const RebalancePlan& plan,
                      const PlanOptions& options);

}  // namespace berth::scheduler
