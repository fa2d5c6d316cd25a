#include "placement/model/projection.h"

#include <algorithm>
#include <map>
#include <set>

#include "placement/model/capacity.h"

namespace berth::placement {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;

int32_t Amount(uint64_t value) {
  return static_cast<int32_t>(std::min<uint64_t>(value, kMaxAmount));
}

// Rounded up: what is held counts in full.
int64_t Mib(uint64_t bytes) {
  return Amount(bytes / kMib + (bytes % kMib == 0 ? 0 : 1));
}

// Nothing for an empty inventory: the API's totals begin at 1.
void AddInventory(ProjectedProvider& provider, std::string_view resource_class, uint64_t total,
                  double ratio) {
  if (total == 0) return;
  Inventory inventory;
  inventory.total = inventory.max_unit = Amount(total);
  inventory.allocation_ratio = ratio;
  provider.inventories.emplace_back(resource_class, inventory);
}

void SortLists(ProjectedProvider& provider) {
  std::sort(provider.inventories.begin(), provider.inventories.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::sort(provider.traits.begin(), provider.traits.end());
  provider.traits.erase(std::unique(provider.traits.begin(), provider.traits.end()), provider.traits.end());
}

ProjectedProvider ProjectRoot(const HostReport& host) {
  ProjectedProvider root{.uuid = host.uuid, .name = host.name, .parent = {}, .inventories = {}, .traits = {}};
  uint64_t cpus = 0;
  uint64_t memory = 0;
  for (const Cell& cell : host.cells) {
    cpus += cell.shared_cpus.Count();
    memory += BaseMemory(cell);
  }
  AddInventory(root, "VCPU", cpus, host.cpu_allocation_ratio);
  AddInventory(root, "MEMORY_MB", memory / kMib, host.ram_allocation_ratio);
  AddInventory(root, "DISK_GB", host.disk_bytes / kGib, 1.0);
  SortLists(root);
  return root;
}

ProjectedProvider ProjectCell(const HostReport& host, const Cell& cell) {
  ProjectedProvider provider{.uuid = CellProviderUuid(host.uuid, cell.id),
                             .name = host.name + "_numa_" + std::to_string(cell.id),
                             .parent = host.uuid,
                             .inventories = {},
                             .traits = {"HW_NUMA_ROOT"}};
  AddInventory(provider, "VCPU", cell.shared_cpus.Count(), host.cpu_allocation_ratio);
  AddInventory(provider, "PCPU", cell.dedicated_cpus.Count(), 1.0);
  // Huge pages are never overcommitted, nor held back by a ratio below 1; base pages have the ratio.
  AddInventory(provider, "MEMORY_MB", cell.memory_bytes / kMib, std::max(1.0, host.ram_allocation_ratio));
  AddInventory(provider, kSecureMemoryClass, cell.secure_memory_bytes / kMib, 1.0);
  SortLists(provider);
  return provider;
}

void ProjectDevices(const HostReport& host, std::vector<ProjectedProvider>& providers) {
  struct Shown {
    std::map<std::string, uint64_t> totals;
    std::set<std::string> traits;
  };
  std::map<PciAddress, Shown> shown;
  for (const Device& device : host.devices) {
    if (!device.assignable) continue;
    Shown& provider = shown[ProviderAddress(device)];
    ++provider.totals[device.resource_class];
    provider.traits.insert(device.traits.begin(), device.traits.end());
  }
  for (const auto& [address, content] : shown) {
    const Device* device = FindDevice(host, address);
    bool in_cell = device != nullptr && device->numa_node && FindCell(host, *device->numa_node) != nullptr;
    ProjectedProvider provider{
        .uuid = DeviceProviderUuid(host.uuid, address),
        .name = host.name + "_" + address.ToString(),
        .parent = in_cell ? CellProviderUuid(host.uuid, *device->numa_node) : host.uuid,
        .inventories = {},
        .traits = {content.traits.begin(), content.traits.end()}};
    for (const auto& [name, total] : content.totals) AddInventory(provider, name, total, 1.0);
    SortLists(provider);
    providers.push_back(std::move(provider));
  }
}

}  // namespace

Uuid CellProviderUuid(const Uuid& host, NumaNode cell) {
  return Uuid::FromName(host, "numa_" + std::to_string(cell));
}

Uuid DeviceProviderUuid(const Uuid& host, const PciAddress& address) {
  return Uuid::FromName(host, address.ToString());
}

std::string NameOfProvider(const HostReport& host, const Uuid& provider) {
  if (provider == host.uuid) return host.name;
  for (const Cell& cell : host.cells) {
    if (CellProviderUuid(host.uuid, cell.id) == provider)
      return host.name + "_numa_" + std::to_string(cell.id);
  }
  for (const Device& device : host.devices) {
    const PciAddress& address = ProviderAddress(device);
    if (DeviceProviderUuid(host.uuid, address) == provider) return host.name + "_" + address.ToString();
  }
  return host.name + "_" + provider.ToString();
}

const PciAddress& ProviderAddress(const Device& device) {
  return device.type == DeviceType::kVf && device.parent ? *device.parent : device.address;
}

std::vector<ProjectedProvider> ProjectHost(const HostReport& host) {
  std::vector<ProjectedProvider> providers;
  providers.push_back(ProjectRoot(host));
  for (const Cell& cell : host.cells) providers.push_back(ProjectCell(host, cell));
  ProjectDevices(host, providers);
  return providers;
}

std::vector<ProjectedAllocation> ProjectClaim(const HostReport& host, const Claim& claim) {
  std::map<std::pair<Uuid, std::string>, int64_t> sums;
  auto add = [&](const Uuid& provider, std::string_view resource_class, int64_t amount) {
    if (amount > 0) sums[{provider, std::string(resource_class)}] += amount;
  };
  if (claim.cells.empty()) {
    add(host.uuid, "VCPU", claim.spec.vcpus);
    add(host.uuid, "MEMORY_MB", Mib(claim.spec.memory_bytes));
  }
  if (host.disk_bytes >= kGib) add(host.uuid, "DISK_GB", Amount((claim.spec.disk_bytes + kGib - 1) / kGib));
  for (const CellBinding& cell : claim.cells) {
    if (FindCell(host, cell.host_cell) == nullptr) continue;
    Uuid provider = CellProviderUuid(host.uuid, cell.host_cell);
    auto pinned = static_cast<int64_t>(cell.pinning.size());
    add(provider, "PCPU", pinned + cell.reserved.Count());
    add(provider, "VCPU", static_cast<int64_t>(cell.vcpus.Count()) - pinned);
    add(provider, cell.secure ? kSecureMemoryClass : "MEMORY_MB", Mib(cell.memory_bytes));
    add(provider, "MEMORY_MB", Mib(cell.swiotlb_bytes));
  }
  for (const DeviceBinding& binding : claim.devices) {
    const Device* device = FindDevice(host, binding.address);
    if (device == nullptr) continue;
    add(DeviceProviderUuid(host.uuid, ProviderAddress(*device)), device->resource_class, 1);
  }
  std::vector<ProjectedAllocation> allocations;
  for (const auto& [key, amount] : sums) allocations.push_back({key.first, key.second, amount});
  return allocations;
}

}  // namespace berth::placement
