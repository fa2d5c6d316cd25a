#pragma once

#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {

// Everything of HostFacts but the CPU sets, which Discover() fills in.
HostFacts ReadFacts(const Root& root, Warnings& warnings);

}  // namespace berth::agent
