#pragma once

#include <string>
#include <vector>

#include "placement/model/host.h"
#include "placement/model/usage.h"

namespace berth::placement {

// A host as its agent reports it, with all that its claims hold and the report lacks: seed 002, "keep the
// device and the allocation ... logs a warning". Kept are claimed devices (and the PF of a claimed VF),
// pinned and reserved CPUs, cells with claims, pages and secure memory in use. `previous` is the host as it
// was before, from where the descriptions of kept things are taken. Each thing kept, and each overcommitment
// beyond the reported ratios, adds a line to `warnings`.
//
// `reported` must pass ValidateReport; the result does too, and every claim in `usage` has its CPUs, pages
// and devices in it. With an empty usage the result equals `reported`.
HostReport KeepClaimed(const HostReport& reported, const HostReport& previous, const HostUsage& usage,
                       std::vector<std::string>& warnings);

}  // namespace berth::placement
