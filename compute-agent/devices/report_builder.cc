#include "compute-agent/devices/report_builder.h"

#include <algorithm>
#include <utility>

#include "common/byte_size.h"
#include "compute-agent/devices/card_trust.h"
#include "placement/model/secure_card.h"

namespace berth::agent {
namespace {

constexpr uint64_t kDefaultReserve = uint64_t{512} << 20;  // as Nova's reserved_host_memory_mb

placement::Device ToDevice(const PciDeviceInfo& info, const ConfiguredDomains& domains) {
  placement::Device device;
  device.address = info.address;
  device.vendor_id = info.vendor_id;
  device.product_id = info.product_id;
  device.class_code = info.class_code;
  device.type = info.type;
  device.parent = info.parent;
  device.numa_node = info.numa_node;
  device.iommu_group = info.iommu_group;
  device.driver = info.driver;
  device.domains = DomainsOf(info, domains);
  return device;
}

// Bytes that guests never get, by node.
std::map<placement::NumaNode, uint64_t> ReservedMemory(const HostInventory& inventory,
                                                       const HostConfig& config) {
  if (config.reserved_memory.has_value()) return *config.reserved_memory;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    if (!node.cpus.empty()) return {{node.id, std::min(kDefaultReserve, node.memory_bytes / 4)}};
  }
  return {};
}

void SplitCpus(const NumaNodeInfo& node, const HostConfig& config, placement::Cell& cell) {
  if (!config.cpu_shared_set && !config.cpu_dedicated_set) {
    cell.shared_cpus = node.cpus;
    cell.dedicated_cpus = node.cpus;
    return;
  }
  if (config.cpu_shared_set) cell.shared_cpus = *config.cpu_shared_set & node.cpus;
  if (config.cpu_dedicated_set) cell.dedicated_cpus = *config.cpu_dedicated_set & node.cpus;
}

// Page pools of a node, and the bytes of huge pages that guests never get.
uint64_t FillPages(const NumaNodeInfo& node, uint64_t reserved_bytes, const PageCounts& configured,
                   const PageCounts& foreign, placement::Cell& cell, ErrorList& errors) {
  uint64_t reserved_huge_bytes = 0;
  for (const PageCount& count : node.pages) {
    placement::PagePool pool{count.size_bytes, count.total, 0};
    if (&count == &node.pages.front()) {
      pool.reserved = std::min(pool.total, (reserved_bytes + pool.size_bytes - 1) / pool.size_bytes);
    } else {
      PoolKey key{node.id, count.size_bytes};
      auto of = [&](const PageCounts& counts) { return counts.contains(key) ? counts.at(key) : 0; };
      if (of(configured) > pool.total) {
        errors.Add(InvalidArgument("node " + std::to_string(node.id) + " has " + std::to_string(pool.total) +
                                       " pages of " + ByteSize(pool.size_bytes).ToString() + ", " +
                                       std::to_string(of(configured)) + " are to be reserved",
                                   "reserved_huge_pages"));
      }
      pool.reserved = std::min(pool.total, of(configured) + of(foreign));
      reserved_huge_bytes += pool.reserved * pool.size_bytes;
    }
    cell.pages.push_back(pool);
  }
  return reserved_huge_bytes;
}

// Distances between the nodes that became cells, in their order.
void FillDistances(const HostInventory& inventory, const NumaNodeInfo& node, placement::Cell& cell) {
  if (node.distances.size() != inventory.numa_nodes.size()) return;
  for (size_t i = 0; i < node.distances.size(); ++i) {
    if (!inventory.numa_nodes[i].cpus.empty()) cell.distances.push_back(node.distances[i]);
  }
}

void CheckNodes(const HostInventory& inventory, const HostConfig& config, ErrorList& errors) {
  auto has = [&](placement::NumaNode id) {
    return std::any_of(inventory.numa_nodes.begin(), inventory.numa_nodes.end(),
                       [&](const NumaNodeInfo& node) { return node.id == id; });
  };
  for (const auto& [node, bytes] :
       config.reserved_memory.value_or(std::map<placement::NumaNode, uint64_t>())) {
    if (!has(node))
      errors.Add(InvalidArgument("this host has no node " + std::to_string(node), "reserved_memory"));
  }
  for (const auto& [node, bytes] : config.confidential.secure_memory) {
    if (!has(node)) {
      errors.Add(
          InvalidArgument("this host has no node " + std::to_string(node), "confidential.secure_memory"));
    }
  }
  for (const auto& [key, count] : config.reserved_huge_pages) {
    bool known =
        std::any_of(inventory.numa_nodes.begin(), inventory.numa_nodes.end(), [&](const NumaNodeInfo& node) {
          return node.id == key.first &&
                 std::any_of(node.pages.begin(), node.pages.end(),
                             [&](const PageCount& pages) { return pages.size_bytes == key.second; });
        });
    if (!known) {
      errors.Add(InvalidArgument("this host has no pages of " + ByteSize(key.second).ToString() +
                                     " on node " + std::to_string(key.first),
                                 "reserved_huge_pages"));
    }
  }
}

void CheckCpus(const HostInventory& inventory, const HostConfig& config, std::vector<std::string>& warnings) {
  CpuSet online;
  for (const NumaNodeInfo& node : inventory.numa_nodes) online |= node.cpus;
  for (const auto& [key, set] : {std::pair("cpu_shared_set", &config.cpu_shared_set),
                                 std::pair("cpu_dedicated_set", &config.cpu_dedicated_set)}) {
    if (!set->has_value()) continue;
    CpuSet missing = **set - online;
    if (!missing.empty()) {
      warnings.push_back(std::string(key) + ": CPUs " + missing.ToString() +
                         " are not online on any NUMA node");
    }
  }
}

// Gives the cell its secure memory. Returns what of the ordinary memory it takes.
uint64_t TakeSecureMemory(const NumaNodeInfo& node, const SecureMemory& secure, uint64_t reserve,
                          placement::Cell& cell, ErrorList& errors) {
  auto found = secure.bytes.find(node.id);
  if (found == secure.bytes.end()) return 0;
  cell.secure_memory_bytes = found->second;
  if (!secure.from_ordinary) return 0;
  uint64_t base =
      node.pages.empty() ? node.memory_bytes : node.pages.front().total * node.pages.front().size_bytes;
  uint64_t left = base - std::min(base, reserve);
  if (found->second <= left) return found->second;
  errors.Add(InvalidArgument("node " + std::to_string(node.id) + " has " + ByteSize(left).ToHuman() +
                                 " beside its huge pages and reserve, " + ByteSize(found->second).ToHuman() +
                                 " are to be secure",
                             "confidential.secure_memory"));
  return 0;
}

std::vector<placement::Cell> BuildCells(const HostInventory& inventory, const HostConfig& config,
                                        const PageCounts& foreign, const SecureMemory& secure,
                                        std::vector<std::string>& warnings, ErrorList& errors) {
  std::map<placement::NumaNode, uint64_t> reserves = ReservedMemory(inventory, config);
  std::vector<placement::Cell> cells;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    uint64_t reserve = reserves.contains(node.id) ? reserves.at(node.id) : 0;
    if (reserve > node.memory_bytes) {
      errors.Add(InvalidArgument("node " + std::to_string(node.id) + " has " +
                                     ByteSize(node.memory_bytes).ToHuman() + ", " +
                                     ByteSize(reserve).ToHuman() + " are to be reserved",
                                 "reserved_memory"));
      continue;
    }
    if (node.cpus.empty()) {
      if (node.memory_bytes > 0) {
        warnings.push_back("node " + std::to_string(node.id) + " has no CPUs: its " +
                           ByteSize(node.memory_bytes).ToHuman() + " of memory are not offered");
      }
      continue;
    }
    placement::Cell cell;
    cell.id = node.id;
    cell.socket = node.socket;
    cell.siblings = node.siblings;
    SplitCpus(node, config, cell);
    reserve += TakeSecureMemory(node, secure, reserve, cell, errors);
    uint64_t huge = FillPages(node, reserve, config.reserved_huge_pages, foreign, cell, errors);
    cell.memory_bytes = node.memory_bytes - std::min(node.memory_bytes, reserve + huge);
    FillDistances(inventory, node, cell);
    cells.push_back(std::move(cell));
  }
  return cells;
}

// VFIO opens a group only when no driver of the host holds one of its devices. Bridges do not count. Others
// that are assignable too do: vfio-pci gets only the one that is claimed.
const PciDeviceInfo* HostsOwn(const std::vector<const PciDeviceInfo*>& group, const PciAddress& device) {
  constexpr uint32_t kBridge = 0x06;
  for (const PciDeviceInfo* member : group) {
    bool free = member->driver.empty() || member->driver == "vfio-pci" || member->driver == "pci-stub";
    if ((member->class_code >> 16) == kBridge || free || member->address == device) continue;
    return member;
  }
  return nullptr;
}

void WithholdUnviable(const HostInventory& inventory, placement::HostReport& report) {
  std::map<uint32_t, std::vector<const PciDeviceInfo*>> groups;
  for (const PciDeviceInfo& info : inventory.pci_devices) {
    if (info.iommu_group.has_value()) groups[*info.iommu_group].push_back(&info);
  }
  for (placement::Device& device : report.devices) {
    if (!device.assignable || !device.iommu_group.has_value()) continue;
    const PciDeviceInfo* own = HostsOwn(groups[*device.iommu_group], device.address);
    if (own == nullptr) continue;
    device.assignable = false;
    report.warnings.push_back("device " + device.address.ToString() +
                              " is withheld: " + own->address.ToString() + " of the same IOMMU group " +
                              std::to_string(*device.iommu_group) + " is held by the host's driver " +
                              own->driver + "; unbind it or bind it to vfio-pci");
  }
}

// VFIO gives a group to one process: a second guest with a device of it would fail.
void WarnOfSharedGroups(placement::HostReport& report) {
  std::map<uint32_t, std::string> members;  // assignable, comma-separated
  for (const placement::Device& device : report.devices) {
    if (!device.assignable || !device.iommu_group.has_value()) continue;
    std::string& text = members[*device.iommu_group];
    text += (text.empty() ? "" : ", ") + device.address.ToString();
  }
  for (const auto& [group, text] : members) {
    if (text.find(',') == std::string::npos) continue;
    report.warnings.push_back("devices " + text + " are of one IOMMU group " + std::to_string(group) +
                              ": only one guest at a time can have any of them");
  }
}

// A device that fails is taken out alone, with its VFs, and the host goes on.
void WithholdFailed(const HostInventory& inventory, placement::HostReport& report) {
  std::map<PciAddress, std::string> failed;  // why
  for (const PciDeviceInfo& info : inventory.pci_devices) {
    if (info.off_bus) {
      failed[info.address] = "does not answer any more (off the bus)";
    } else if (info.fatal_errors > 0) {
      failed[info.address] = "has reported " + std::to_string(info.fatal_errors) + " fatal errors (AER)";
    }
  }
  if (failed.empty()) return;
  for (placement::Device& device : report.devices) {
    auto found = failed.find(device.address);
    if (found == failed.end() && device.parent.has_value()) found = failed.find(*device.parent);
    if (found == failed.end() || !device.assignable) continue;
    device.assignable = false;
    const std::string at = found->first.ToString();
    const bool own = found->first == device.address;
    report.warnings.push_back("device " + device.address.ToString() + " is withheld: it " +
                              (own ? found->second : "belongs to " + at + ", which " + found->second) +
                              "; to try it again: echo 1 > /sys/bus/pci/devices/" + at +
                              "/remove && echo 1 > /sys/bus/pci/rescan");
  }
}

// What of a card is left is for confidential guests only.
void MarkSecureCards(const std::set<PciAddress>& secure, placement::HostReport& report) {
  for (placement::Device& device : report.devices) {
    if (!secure.contains(CardOf(device))) continue;
    const std::string trait(placement::kSecureCardTrait);
    auto at = std::lower_bound(device.traits.begin(), device.traits.end(), trait);
    if (at == device.traits.end() || *at != trait) device.traits.insert(at, trait);
  }
  for (const PciAddress& card : secure) {
    report.warnings.push_back("card " + card.ToString() +
                              " is in the secure world until the host is rebooted: its functions are for "
                              "confidential guests only");
  }
}

// One-time-use devices that were handed out stay known, but nobody gets them.
void WithholdUsed(const std::set<PciAddress>& one_time_use, const std::set<PciAddress>& used,
                  placement::HostReport& report) {
  for (placement::Device& device : report.devices) {
    if (!one_time_use.contains(device.address) || !used.contains(device.address)) continue;
    device.assignable = false;
    report.warnings.push_back(
        "device " + device.address.ToString() +
        " is for one use and was handed out: it is withheld until its file in the folder "
        "used-devices is removed");
  }
}

// Hosts that fail a hard check offer none, and say why.
SecureMemory OfferedSecureMemory(const PreflightReport& preflight, std::vector<std::string>& warnings) {
  if (preflight.kind == ConfidentialKind::kNone) return {};
  warnings.insert(warnings.end(), preflight.secure.warnings.begin(), preflight.secure.warnings.end());
  if (preflight.Passed(Scope::kConfidential)) return preflight.secure;
  for (const Finding& finding : preflight.findings) {
    if (finding.severity != Severity::kHard || finding.scope == Scope::kDevices) continue;
    warnings.push_back("no confidential guests: " + finding.id + ": " + finding.found +
                       "; needed: " + finding.needed + "; " + finding.repair);
  }
  return {};
}

}  // namespace

PreflightReport CheckHost(const HostInventory& inventory, const HostConfig& config,
                          const HostSettings& settings) {
  return CheckHost(PreflightInput{.inventory = inventory,
                                  .settings = settings,
                                  .confidential = config.confidential,
                                  .cpu_allocation_ratio = config.cpu_allocation_ratio,
                                  .ram_allocation_ratio = config.ram_allocation_ratio,
                                  .reserved_memory = ReservedMemory(inventory, config),
                                  .devices_configured = !config.device_spec.entries.empty()});
}

PageCounts ForeignHugePages(const HostInventory& inventory, const PageCounts& own) {
  PageCounts foreign;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    for (size_t i = 1; i < node.pages.size(); ++i) {
      const PageCount& count = node.pages[i];
      uint64_t used = count.total - std::min(count.free, count.total);
      PoolKey key{node.id, count.size_bytes};
      uint64_t mine = own.contains(key) ? own.at(key) : 0;
      if (used > mine) foreign[key] = used - mine;
    }
  }
  return foreign;
}

Result<BuiltReport> BuildReport(const HostInventory& inventory, const HostConfig& config,
                                const HostIdentity& identity, const HostState& state) {
  BuiltReport built;
  placement::HostReport& report = built.report;
  report.uuid = identity.uuid;
  report.name = identity.name;
  report.agent_endpoint = identity.agent_endpoint;
  report.kernel_release = inventory.facts.kernel_release;
  report.os_name = inventory.facts.os_name;
  report.can_run_guests = inventory.facts.kvm.usable;
  report.cpu_allocation_ratio = config.cpu_allocation_ratio;
  report.ram_allocation_ratio = config.ram_allocation_ratio;
  report.disk_bytes = config.disk_bytes;
  report.warnings = inventory.warnings;

  ErrorList errors;
  CheckNodes(inventory, config, errors);
  CheckCpus(inventory, config, report.warnings);
  built.preflight = CheckHost(inventory, config, state.settings);
  SecureMemory secure = OfferedSecureMemory(built.preflight, report.warnings);
  report.cells = BuildCells(inventory, config, state.foreign, secure, report.warnings, errors);
  if (report.cells.empty())
    report.warnings.push_back("no NUMA node with CPUs was found: no guest can be placed");

  std::vector<placement::Device> devices;
  for (const PciDeviceInfo& info : inventory.pci_devices) devices.push_back(ToDevice(info, config.domains));
  std::optional<AssignedDevices> assigned =
      errors.Take(AssignDevices(config.device_spec, std::move(devices)));
  TRY(errors.ToStatus());
  report.devices = std::move(assigned->devices);
  built.unmanaged = std::move(assigned->unmanaged);
  built.one_time_use = std::move(assigned->one_time_use);
  if (built.preflight.kind == ConfidentialKind::kVirtcca) {
    built.cards = CardsOf(report.devices);
    MarkSecureCards(state.secure_cards, report);
  }
  WithholdFailed(inventory, report);
  WithholdUnviable(inventory, report);
  WithholdUsed(built.one_time_use, state.used, report);
  WarnOfSharedGroups(report);
  report.warnings.insert(report.warnings.end(), assigned->warnings.begin(), assigned->warnings.end());
  if (size_t count = report.warnings.size(); count > HostInventory::kMaxWarnings) {
    report.warnings.resize(HostInventory::kMaxWarnings - 1);
    report.warnings.push_back(std::to_string(count - report.warnings.size()) + " further warnings");
  }
  return built;
}

}  // namespace berth::agent
