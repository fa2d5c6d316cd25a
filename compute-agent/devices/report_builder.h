#pragma once

#include <map>
#include <set>
#include <string>

#include "common/status.h"
#include "common/uuid.h"
#include "compute-agent/devices/host_config.h"
#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/preflight/preflight.h"
#include "placement/model/host.h"

namespace berth::agent {

// Who reports.
struct HostIdentity {
  Uuid uuid;
  std::string name;
  std::string agent_endpoint;
};

struct BuiltReport {
  placement::HostReport report;
  std::set<PciAddress> unmanaged;     // devices whose driver the agent leaves alone
  std::set<PciAddress> one_time_use;  // devices that are withheld after their first use
  // The card of each device on hosts whose cards are trust domains (virtCCA); empty elsewhere.
  std::map<PciAddress, PciAddress> cards;
  PreflightReport preflight;
};

// What the inventory does not tell and a report depends on.
struct HostState {
  PageCounts foreign = {};         // huge pages that others used when the agent started
  std::set<PciAddress> used = {};  // one-time-use devices that were handed out before
  HostSettings settings = {};
  std::set<PciAddress> secure_cards = {};  // in the secure world until the next boot
};

// Huge pages that somebody else uses: pages in use, less those that this agent's own instances hold. Asked
// once when the agent starts; the result stays reserved, so that a report does not change while an instance
// fills its memory.
PageCounts ForeignHugePages(const HostInventory& inventory, const PageCounts& own);

// What the host offers to guests. Pure: the same inventory and configuration give the same report.
//   - Cells are the nodes with CPUs; memory of nodes without CPUs is left out with a warning.
//   - memory_bytes: the node's memory less the configured reserve and less reserved huge pages.
//   - Base pages: memory that is not in huge pages, of which the reserve is reserved. Huge pages: the foreign
//   and the configured ones are reserved.
//   - Secure memory of each cell, if the host passes every hard check for confidential guests; where it is
//   set aside of ordinary memory, that is less by it.
//   - Devices: those of AssignDevices; one-time-use devices that were used, and devices that failed (off the
//   bus, fatal errors) with their VFs, are not assignable. Those of a card in the secure world have the trait
//   kSecureCardTrait.
// Errors: those of AssignDevices; kInvalidArgument with all offences at once when the configuration names
// memory, nodes or pages that the host does not have.
PreflightReport CheckHost(const HostInventory& inventory, const HostConfig& config,
                          const HostSettings& settings);
Result<BuiltReport> BuildReport(const HostInventory& inventory, const HostConfig& config,
                                const HostIdentity& identity, const HostState& state);

}  // namespace berth::agent
