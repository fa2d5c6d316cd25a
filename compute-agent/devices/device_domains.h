#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/pci_address.h"
#include "compute-agent/inventory/host_inventory.h"

namespace berth::agent {

// Domains that operators name: which devices are in one NVLink clique, on one rail, whatever sysfs can not
// tell. By name ("clique:0"), addresses ascending.
using ConfiguredDomains = std::map<std::string, std::vector<PciAddress>>;

// Whether a text is "KIND:NAME": a kind of letters, digits, '_' and '-', and a name without blanks and
// commas.
bool IsDomainName(const std::string& text);

// The named domains of a device, sorted: of the PCI tree "root:ADDRESS" (its root port) and "switch:ADDRESS"
// for each PCIe switch above it (the switch's upstream port), and those configured for it or for its PF. A
// switch is an upstream port with a downstream port below it on the way to the device: bridges in pairs below
// the root port (PCI Express Base 6.0, 1.3.3).
std::vector<std::string> DomainsOf(const PciDeviceInfo& device, const ConfiguredDomains& configured);

}  // namespace berth::agent
