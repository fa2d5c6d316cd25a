#pragma once

#include "berth/v1/placement.pb.h"
#include "cli/tree.h"

namespace berth::cli {

// The picture of a host known to placement: sockets, nodes, CPUs and who has them, memory and page pools in
// use, devices with their VFs and consumers. Texts that do not parse are shown as they are.
TreeItem HostPicture(const v1::GetHostResponse& host);

}  // namespace berth::cli
