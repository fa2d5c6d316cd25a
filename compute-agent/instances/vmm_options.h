#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::agent {

// CPUs taken out of a cell's shared set, because claims hold them exclusively.
CpuSet ExclusiveCpus(const std::vector<placement::Claim>& claims);

// The host CPUs that each vCPU thread of the claim may run on: the claimed one for a pinned vCPU; for a
// floating one the shared CPUs of its cell (of all cells, if the claim has none) less `exclusive`. A vCPU for
// which nothing would be left keeps the whole shared set; one for which nothing is known is absent.
std::map<uint32_t, CpuSet> VcpuAffinity(const placement::Claim& claim, const placement::HostReport& host,
                                        const CpuSet& exclusive);

// The id that a device of the host has within the VMM.
std::string VmmDeviceId(const PciAddress& address);

// Where the VMM of an instance talks to the agent.
struct VmmPaths {
  std::string api_socket;
  std::string serial_socket;
};

// The arguments of berth-vmm (without argv[0]) that make the machine which the claim describes: one memory
// zone bound to its host node and one guest NUMA node per cell, vCPU affinity, distances of the chosen cells,
// each device in a PCI segment of the guest node that is on its host node (or nearest to it).
// `confidential`: the platform that keeps the guest's memory from the host, in the VMM's words; empty: none.
// Every value is attached to its option ("--kernel=/x"), so that no value can be taken for an option. Pure.
// kInvalidArgument with the field: kernel, initramfs or disk that is no absolute path; kFailedPrecondition: a
// cell that the host does not report.
Result<std::vector<std::string>> VmmArguments(const placement::Claim& claim,
                                              const placement::HostReport& host, const CpuSet& exclusive,
                                              const VmmPaths& paths, const std::string& confidential = {});

}  // namespace berth::agent
