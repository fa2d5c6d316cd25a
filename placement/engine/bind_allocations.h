#pragma once

#include <string>
#include <vector>

#include "placement/model/claim.h"
#include "placement/model/host.h"
#include "placement/model/projection.h"
#include "placement/model/usage.h"

namespace berth::placement {

// Exact CPUs, memory and devices for amounts on the providers of a host's tree: what ProjectClaim turns into
// these amounts again. CPUs are chosen by the scheduler's solver, devices by the lowest address. The claim
// has `cells` and `devices`, `spec.vcpus` and `spec.memory_bytes`; the rest is the caller's. CheckClaim
// judges it. Errors say which amount cannot be bound and why.
Result<Claim> BindAllocations(const HostReport& host, const HostUsage& usage,
                              const std::vector<ProjectedAllocation>& allocations);

}  // namespace berth::placement
