#pragma once

#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {

ConfidentialState ReadConfidential(const Root& root, Warnings& warnings);

}  // namespace berth::agent
