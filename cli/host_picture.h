#pragma once

#include "berth/v1/placement.pb.h"
#include "cli/tree.h"

namespace berth::cli {

// Whether an operator has taken it out of service for new instances (COMPUTE_STATUS_DISABLED).
bool IsDrained(const v1::Host& host);

// The picture of a host known to placement: sockets, nodes, CPUs and who has them, memory and page pools in
// use, devices with their VFs and consumers. Texts that do not parse are shown as they are.
TreeItem HostPicture(const v1::GetHostResponse& host);

}  // namespace berth::cli
