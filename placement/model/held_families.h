#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"

namespace berth::placement {

// A device that an instance holds, as it was when it was handed out.
struct HeldDevice {
  PciAddress address;
  std::optional<PciAddress> parent;  // of a VF
  std::string holder;                // for messages: "instance 5c1f..."
};

// Seed 002: "if a device with any allocation is reconfigured in a way that an allocated PF is removed and VFs
// from the same PF is configured (or vice versa)" the host is refused, since PF and VFs would both be made
// available. A held device is removed when the report has it not, or not as assignable. kFailedPrecondition
// naming both devices and who holds the first.
Status CheckHeldFamilies(const HostReport& reported, const std::vector<HeldDevice>& held);
// The same for what claims hold of a host that was reported as `previous` before.
Status CheckHeldFamilies(const HostReport& reported, const HostReport& previous, const HostUsage& usage);

}  // namespace berth::placement
