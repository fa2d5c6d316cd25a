#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "placement/model/port_settings.h"
#include "scheduler/request/alias.h"
#include "scheduler/request/extra_specs.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

struct Flavor {
  std::string name;
  uint32_t vcpus = 0;       // 1..4096
  uint64_t memory_mib = 0;  // 1..2^30
  Properties extra_specs;
  uint64_t disk_gib = 0;  // 0..2^30

  friend bool operator==(const Flavor&, const Flavor&) = default;
};

// A port of the network service (seed 002, "Special Tags"; rules R7, R8).
struct PortRequest {
  std::string id;
  std::string vnic_type;                        // "normal", "direct", ...
  std::optional<std::string> physical_network;  // empty: none (an overlay network)
  bool tunneled = false;                        // the network is an overlay
  std::optional<bool> trusted;                  // empty: not asked
  std::string numa_policy;                      // empty: from flavor or image
  placement::PortSettings settings = {};        // of its VF; of no effect on where it fits

  friend bool operator==(const PortRequest&, const PortRequest&) = default;
};

// A device of the host serves the port: every type but normal.
bool NeedsDevice(const PortRequest& port);

// How alias requests find their devices.
enum class PciTracking {
  kExact,            // ours: resource class and traits where the alias names them; group_policy counts
  kNovaTracker,      // Nova's PCI tracker: vendor, product and type only; group_policy is without effect
  kNovaInPlacement,  // R10: also the (default) resource class, traits, no physical_network; group_policy
                     // counts
};

// Resolves everything that an instance asks for into one value. Errors are kInvalidArgument, begin with
// Nova's name of the error where Nova has one ("ImageNUMATopologyAsymmetric: ..."), and carry as field
// "extra_specs.NAME", "image_properties.NAME" or "ports[N].KEY".
Result<RequestSpec> ResolveRequest(const Flavor& flavor, const Properties& image,
                                   const std::vector<PortRequest>& ports, const AliasTable& aliases,
                                   PciTracking tracking = PciTracking::kExact);

// What of a valid request has no effect, one sentence each: for people, never an error. For example a NUMA
// policy without guest NUMA topology.
std::vector<std::string> ExplainIneffective(const Flavor& flavor, const RequestSpec& spec);

// Parts of ResolveRequest, in files of their own.
// Traits of the host (trait:NAME, required, forbidden, of flavor and image), aggregate specs, the image's own
// properties.
Result<HostRules> ResolveHostRules(const Flavor& flavor, const Properties& image);
// Policies of CPU, threads and emulator, and the page size, from flavor and image: fills the fields of `spec`
// but for cells and pci; `dedicated_mask` are the pinned vCPUs under policy mixed.
// Memory encryption and what it takes (R11), before the others.
Status ResolveEncryption(const Flavor& flavor, const Properties& image, RequestSpec& spec);
struct CpuChoice {
  CpuSet dedicated_mask;
  std::optional<uint32_t> numa_nodes;
};
Result<CpuChoice> ResolveCpu(const Flavor& flavor, const Properties& image, RequestSpec& spec);
// The guest's cells (R1); empty without topology.
Result<std::vector<GuestCell>> ResolveCells(const Flavor& flavor, const Properties& image,
                                            const CpuChoice& choice, const RequestSpec& spec);
// PCI requests of aliases and ports.
Result<std::vector<PciRequest>> ResolvePci(const Flavor& flavor, const Properties& image,
                                           const std::vector<PortRequest>& ports, const AliasTable& aliases,
                                           PciTracking tracking, bool encrypted);
// One PCI request for each group of placement's syntax that asks for a device: "resources1:CUSTOM_X=1" with
// "trait1:CUSTOM_Y=required" and "required1=CUSTOM_Y,!CUSTOM_Z".
Result<std::vector<PciRequest>> ResolveResourceGroups(const Flavor& flavor);
// hw:viommu_model and hw_viommu_model; as in Nova the flavor wins.
Result<ViommuModel> ResolveViommu(const Flavor& flavor, const Properties& image);
// Groups of PCI requests whose devices share a domain ("berth:same_domain").
Result<std::vector<DomainGroup>> ResolveDomains(const Flavor& flavor, const std::vector<PciRequest>& pci);

}  // namespace berth::scheduler
