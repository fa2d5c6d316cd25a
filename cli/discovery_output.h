#pragma once

#include <string>

#include "cli/output.h"
#include "cli/tree.h"
#include "compute-agent/inventory/host_inventory.h"

namespace berth::cli {

// The report of `berthctl discover`. Its keys are an interface: numa_nodes[], pci_devices[] and warnings[]
// keep their names and meaning; other keys may join them. docs/cli.md lists all.
Json DiscoveryToJson(const agent::HostInventory& inventory);

// Tables of nodes, devices and warnings, and the facts before them.
std::string DiscoveryToTable(const agent::HostInventory& inventory);

// The picture: sockets, nodes, cores, memory and pages, devices with their VFs.
TreeItem DiscoveryToTree(const agent::HostInventory& inventory);

}  // namespace berth::cli
