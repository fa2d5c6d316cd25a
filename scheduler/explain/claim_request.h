#pragma once

#include "placement/model/claim.h"
#include "placement/model/host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What an instance that is placed asks of another host, told from its claim: the same cells, page sizes and
// kinds of devices. `flavor`: its flavor resolved without image and ports, nullptr when it is not known any
// more; adds what a claim does not show (thread policy, aliases with their alternatives). Where that leaves a
// doubt the stricter is taken: devices that are beside the guest now are asked for with policy required.
RequestSpec RequestOfClaim(const placement::Claim& claim, const placement::HostReport& report,
                           const RequestSpec* flavor);

// Whether we could move it: it runs here, is not on its way out, and is no place that is held for a move.
bool IsMovable(const placement::Claim& claim);

}  // namespace berth::scheduler
