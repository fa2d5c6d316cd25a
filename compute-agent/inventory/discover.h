#pragma once

#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/inventory/root.h"

namespace berth::agent {

// Reads the machine under `root`. Never fails: what is missing is empty in the result, and what is there but
// cannot be read or understood is a line in `warnings`. Reads only, needs no privileges (an unprivileged
// process sees less of /dev). About 10 files a PCI device: 4,096 VFs take a fraction of a second.
HostInventory Discover(const Root& root);

}  // namespace berth::agent
