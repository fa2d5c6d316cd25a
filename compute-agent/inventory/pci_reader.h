#pragma once

#include <vector>

#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/inventory/root.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {

// The PCI functions of /sys/bus/pci/devices, ascending by address. Those with an address beyond seed 002's
// limits, or without readable vendor, device and class, are left out with a warning each.
std::vector<PciDeviceInfo> ReadPciDevices(const Root& root, Warnings& warnings);

}  // namespace berth::agent
