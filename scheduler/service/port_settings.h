#pragma once

#include <vector>

#include "placement/model/claim.h"
#include "scheduler/request/request_spec.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {

// Gives each device of `claim` that serves a port what that port asks of its VF. They are no part of the
// RequestSpec: where a port fits does not depend on its MAC address. `spec` was resolved from `ports`.
void AddPortSettings(const RequestSpec& spec, const std::vector<PortRequest>& ports, placement::Claim& claim);

}  // namespace berth::scheduler
