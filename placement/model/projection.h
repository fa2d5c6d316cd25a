#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "placement/model/claim.h"
#include "placement/model/host.h"
#include "placement/model/inventory.h"

// How hosts and claims appear in OpenStack Placement's model (seed 002, "PCI tracking in Placement"):
//   root "<host>" (the host's UUID)        VCPU, MEMORY_MB: what instances without guest topology take;
//                                          DISK_GB, if the host tells one
//   "<host>_numa_<id>" below the root      HW_NUMA_ROOT; VCPU (shared CPUs), PCPU (dedicated), MEMORY_MB,
//                                          CUSTOM_SECURE_MEMORY_MB: what guest cells take
//   "<host>_<address>" below its cell      a PCI device (1 of its class), or a PF with its VFs as inventory
// The exact rules are CheckClaim's; the inventories show the same resources as sums, so a claim that fits
// always fits here too, while what fits here may still be refused (a single pool of CPUs, page sizes, a PF
// and its VFs). Pure functions of a report and a claim.
namespace berth::placement {

inline constexpr std::string_view kSecureMemoryClass = "CUSTOM_SECURE_MEMORY_MB";

// A provider as a report describes it; names are not numbers yet.
struct ProjectedProvider {
  Uuid uuid;
  std::string name;
  Uuid parent;  // nil: the root
  // resource_class of the inventories is not set. Ascending by class name, as are the traits.
  std::vector<std::pair<std::string, Inventory>> inventories;
  std::vector<std::string> traits;
};
// The root first, then each parent before its children.
std::vector<ProjectedProvider> ProjectHost(const HostReport& host);

struct ProjectedAllocation {
  Uuid provider;
  std::string resource_class;
  int64_t amount = 0;  // at least 1
};
// What a claim holds, in the terms of the host's tree. Devices and cells that the report lacks count nowhere.
std::vector<ProjectedAllocation> ProjectClaim(const HostReport& host, const Claim& claim);

// UUIDs of a host's providers, which follow from the host's own.
Uuid CellProviderUuid(const Uuid& host, NumaNode cell);
Uuid DeviceProviderUuid(const Uuid& host, const PciAddress& address);
// The name of a provider of a host, whether or not ProjectHost shows it now; the UUID's text if it is none.
std::string NameOfProvider(const HostReport& host, const Uuid& provider);
// The device by whose provider `device` is shown: the PF of a VF, else itself.
const PciAddress& ProviderAddress(const Device& device);

}  // namespace berth::placement
