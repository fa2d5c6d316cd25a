#include "scheduler/request/resolve.h"

#include <algorithm>
#include <utility>

namespace berth::scheduler {
namespace {

constexpr uint32_t kMaxVcpus = 4096;
constexpr uint64_t kMaxMemoryMib = uint64_t{1} << 30;
constexpr uint64_t kMaxDiskGib = uint64_t{1} << 30;

Status CheckFlavor(const Flavor& flavor) {
  if (flavor.vcpus < 1 || flavor.vcpus > kMaxVcpus) {
    return InvalidArgument(
        "vcpus is " + std::to_string(flavor.vcpus) + ", must be 1 to " + std::to_string(kMaxVcpus), "vcpus");
  }
  if (flavor.memory_mib < 1 || flavor.memory_mib > kMaxMemoryMib) {
    return InvalidArgument("memory_mib is " + std::to_string(flavor.memory_mib) + ", must be 1 to " +
                               std::to_string(kMaxMemoryMib),
                           "memory_mib");
  }
  if (flavor.disk_gib > kMaxDiskGib) {
    return InvalidArgument(
        "disk_gib is " + std::to_string(flavor.disk_gib) + ", must be 0 to " + std::to_string(kMaxDiskGib),
        "disk_gib");
  }
  return OkStatus();
}

// resources:MEMORY_MB may repeat what the flavor has, not change it.
Status CheckMemoryResource(const Flavor& flavor) {
  auto it = flavor.extra_specs.find("resources:MEMORY_MB");
  if (it == flavor.extra_specs.end() || it->second == std::to_string(flavor.memory_mib)) return OkStatus();
  return InvalidArgument("InvalidRequest: resources:MEMORY_MB is \"" + it->second + "\", must be " +
                             std::to_string(flavor.memory_mib) + ", the flavor's memory",
                         "extra_specs.resources:MEMORY_MB");
}

// Nova asks it of every encrypted guest by itself; a flavor may repeat it.
Status CheckEncryptionContext(const Flavor& flavor, const RequestSpec& spec) {
  auto it = flavor.extra_specs.find("resources:MEM_ENCRYPTION_CONTEXT");
  if (it == flavor.extra_specs.end() || it->second == (spec.encrypted() ? "1" : "0")) return OkStatus();
  return InvalidArgument("InvalidRequest: resources:MEM_ENCRYPTION_CONTEXT is \"" + it->second +
                             "\", must be " + (spec.encrypted() ? "1" : "0, or hw:mem_encryption true"),
                         "extra_specs.resources:MEM_ENCRYPTION_CONTEXT");
}

// resources:DISK_GB is what placement counts instead of the flavor's disk, as in Nova; 0 counts none.
Result<uint64_t> ResolveDisk(const Flavor& flavor) {
  auto it = flavor.extra_specs.find("resources:DISK_GB");
  if (it == flavor.extra_specs.end()) return flavor.disk_gib << 30;
  auto gib = ParseWhole(it->second, 0, kMaxDiskGib);
  if (gib.has_value()) return *gib << 30;
  return InvalidArgument("InvalidRequest: resources:DISK_GB is \"" + it->second + "\", must be 0 to " +
                             std::to_string(kMaxDiskGib),
                         "extra_specs.resources:DISK_GB");
}

Result<bool> ResolveGroupPolicy(const Flavor& flavor, PciTracking tracking) {
  auto it = flavor.extra_specs.find("group_policy");
  if (it == flavor.extra_specs.end() || it->second == "none") return false;
  if (it->second == "isolate") return true;
  if (tracking != PciTracking::kExact) return false;  // Nova warns and goes on
  return InvalidArgument("group_policy is \"" + it->second + "\", must be none or isolate",
                         "extra_specs.group_policy");
}

void AddNetworks(const std::vector<PortRequest>& ports, RequestSpec& spec) {
  for (const PortRequest& port : ports) {
    spec.tunneled = spec.tunneled || port.tunneled;
    if (port.physical_network) spec.physical_networks.push_back(*port.physical_network);
  }
  auto& names = spec.physical_networks;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

}  // namespace

Result<RequestSpec> ResolveRequest(const Flavor& flavor, const Properties& image,
                                   const std::vector<PortRequest>& ports, const AliasTable& aliases,
                                   PciTracking tracking) {
  TRY(CheckFlavor(flavor));
  TRY(CheckExtraSpecNames(flavor.extra_specs));
  TRY(CheckImagePropertyNames(image));
  TRY(CheckMemoryResource(flavor));
  RequestSpec spec;
  spec.vcpus = flavor.vcpus;
  spec.memory_bytes = flavor.memory_mib << 20;
  TRY_ASSIGN(spec.disk_bytes, ResolveDisk(flavor));
  TRY_ASSIGN(spec.host, ResolveHostRules(flavor, image));
  TRY(ResolveEncryption(flavor, image, spec));
  TRY(CheckEncryptionContext(flavor, spec));
  TRY_ASSIGN(CpuChoice choice, ResolveCpu(flavor, image, spec));
  TRY_ASSIGN(spec.cells, ResolveCells(flavor, image, choice, spec));
  TRY_ASSIGN(spec.viommu, ResolveViommu(flavor, image));
  TRY_ASSIGN(spec.pci, ResolvePci(flavor, image, ports, aliases, tracking, spec.encrypted()));
  TRY_ASSIGN(spec.domains, ResolveDomains(flavor, spec.pci));
  AddNetworks(ports, spec);
  TRY_ASSIGN(bool isolate, ResolveGroupPolicy(flavor, tracking));
  spec.isolate_groups = isolate && tracking != PciTracking::kNovaTracker;
  return spec;
}

std::vector<std::string> ExplainIneffective(const Flavor& flavor, const RequestSpec& spec) {
  std::vector<std::string> out;
  if (spec.viommu == ViommuModel::kSmmuv3) {
    out.push_back("the vIOMMU model smmuv3 is refused by the hosts: it is a part of AArch64 machines");
  }
  if (!spec.cells.empty()) return out;
  for (const auto& [name, value] : flavor.extra_specs) {
    if (name.starts_with("hw:numa_cpus.") || name.starts_with("hw:numa_mem.")) {
      out.push_back(name + "=" + value +
                    " has no effect: without hw:numa_nodes there is no guest NUMA topology");
    }
  }
  for (const PciRequest& request : spec.pci) {
    if (request.policy != AffinityPolicy::kRequired && request.policy != AffinityPolicy::kSocket) continue;
    out.push_back("policy " + std::string(AffinityPolicyName(request.policy)) + " of \"" + request.name +
                  "\" has no effect: the guest has no NUMA topology (set hw:numa_nodes=1)");
  }
  return out;
}

}  // namespace berth::scheduler
