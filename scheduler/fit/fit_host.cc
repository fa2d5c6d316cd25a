#include "scheduler/fit/fit_host.h"

#include <algorithm>
#include <set>
#include <utility>

#include "placement/model/capacity.h"

namespace berth::scheduler {
namespace {

template <class T, class Before>
void SortUnlessSorted(std::vector<T>& items, Before before) {
  if (!std::is_sorted(items.begin(), items.end(), before)) std::sort(items.begin(), items.end(), before);
}

// The cell's cores, with a core of its own for each free CPU that stands in no sibling set.
void CompleteSiblings(FitCell& cell) {
  CpuSet named;
  for (const CpuSet& core : cell.siblings) named |= core;
  CpuSet left = cell.free_dedicated - named;
  for (uint32_t cpu = left.First(); cpu != CpuSet::kNone; cpu = left.NextAfter(cpu)) {
    cell.siblings.push_back(CpuSet{cpu});
  }
  auto before = [](const CpuSet& a, const CpuSet& b) { return a.First() < b.First(); };
  if (!std::is_sorted(cell.siblings.begin(), cell.siblings.end(), before))
    std::sort(cell.siblings.Own().begin(), cell.siblings.Own().end(), before);
}

void Count(FitCell& cell) {
  CpuCounts& counts = cell.counts;
  counts = {};
  counts.shared = cell.shared_cpus.Count();
  counts.free = cell.free_dedicated.Count();
  counts.overlap = cell.shared_cpus.Intersects(cell.free_dedicated);
  for (const CpuSet& core : cell.siblings) {
    uint32_t threads = core.Count();
    uint32_t free = core.CountCommon(cell.free_dedicated);
    if (threads > 1) counts.smt = true;
    if (free == 0) continue;
    ++counts.touched_cores;
    if (free == threads) ++counts.whole_cores;
    if (free >= 2) counts.on_paired_cores += free;
  }
}

int32_t CellOf(const FitHost& host, std::optional<NumaNode> node) {
  if (!node) return DeviceGroup::kUnknownNode;
  for (size_t c = 0; c < host.cells.size(); ++c) {
    if (host.cells[c].id == *node) return static_cast<int32_t>(c);
  }
  return DeviceGroup::kOtherNode;
}

// Devices ascend by address, so the groups of one host are always in the same order.
void GroupDevices(FitHost& host, DeviceTypes& types) {
  host.groups.clear();
  std::vector<PciAddress> parents;  // families by number
  for (const FitDevice& device : host.devices) {
    if (device.parent && (parents.empty() || parents.back() != *device.parent))
      parents.push_back(*device.parent);
  }
  std::sort(parents.begin(), parents.end());
  parents.erase(std::unique(parents.begin(), parents.end()), parents.end());
  const FitDevice* last = nullptr;  // devices of a type mostly follow each other
  uint32_t last_type = 0;
  for (FitDevice& device : host.devices) {
    const PciAddress& head = device.parent ? *device.parent : device.address;
    auto it = std::lower_bound(parents.begin(), parents.end(), head);
    bool in_family = it != parents.end() && *it == head;
    DeviceGroup group;
    group.family = in_family ? static_cast<int32_t>(it - parents.begin()) : DeviceGroup::kNoFamily;
    group.cell = CellOf(host, device.numa_node);
    group.is_parent = in_family && !device.parent;
    group.type = last != nullptr && SameType(*last, device) ? last_type : types.NumberOf(device);
    device.type = group.type;
    last = &device;
    last_type = group.type;
    auto same = [&](const DeviceGroup& other) {
      return other.type == group.type && other.cell == group.cell && other.family == group.family &&
             other.is_parent == group.is_parent;
    };
    auto known = std::find_if(host.groups.rbegin(), host.groups.rend(), same);
    if (known == host.groups.rend()) {
      group.count = 1;
      host.groups.push_back(group);
    } else {
      ++known->count;
    }
  }
}

FitCell FromCell(const placement::HostReport& report, const placement::Cell& cell,
                 const placement::CellUsage& usage) {
  FitCell out;
  out.id = cell.id;
  out.socket = cell.socket;
  out.shared_cpus = placement::RemainingSharedCpus(cell, usage);
  out.free_dedicated = placement::FreeDedicatedCpus(cell, usage);
  out.single_pool = cell.shared_cpus == cell.dedicated_cpus;
  out.siblings = cell.siblings;
  out.shared_vcpus = usage.shared_vcpus;
  out.base_room_bytes = placement::BaseMemoryRoom(report, cell, usage);
  out.largest_base_bytes = placement::LargestBaseMemory(cell);
  out.largest_pinned_base_bytes = placement::LargestPinnedBaseMemory(cell, usage);
  out.secure_room_bytes =
      cell.secure_memory_bytes - std::min(cell.secure_memory_bytes, usage.secure_memory_bytes);
  out.nonsecure_room_bytes = out.base_room_bytes;
  out.pages.reserve(cell.pages.size());
  for (const placement::PagePool& pool : cell.pages) {
    out.pages.push_back({pool.size_bytes, pool.total, placement::FreePages(cell, usage, pool.size_bytes)});
  }
  const CpuSet cpus = cell.shared_cpus | cell.dedicated_cpus;
  if (cell.memory_bytes > 0)
    out.cpus_per_byte = static_cast<double>(cpus.Count()) / static_cast<double>(cell.memory_bytes);
  return out;
}

DeviceKind KindOf(placement::DeviceType type) {
  switch (type) {
    case placement::DeviceType::kPci:
      return DeviceKind::kPci;
    case placement::DeviceType::kPf:
      return DeviceKind::kPf;
    case placement::DeviceType::kVf:
      return DeviceKind::kVf;
  }
  return DeviceKind::kPci;
}

}  // namespace

uint64_t MemoryRoom(const FitCell& cell) {
  uint64_t bytes = cell.base_room_bytes;
  for (size_t i = 1; i < cell.pages.size(); ++i) bytes += cell.pages[i].free * cell.pages[i].size_bytes;
  return bytes;
}

void Prepare(FitHost& host, DeviceTypes& types) {
  SortUnlessSorted(host.cells, [](const FitCell& a, const FitCell& b) { return a.id < b.id; });
  SortUnlessSorted(host.devices,
                   [](const FitDevice& a, const FitDevice& b) { return a.address < b.address; });
  host.smt = host.pools_overlap = false;
  host.sockets_known = true;
  for (FitCell& cell : host.cells) {
    SortUnlessSorted(cell.pages,
                     [](const FitPages& a, const FitPages& b) { return a.size_bytes < b.size_bytes; });
    CompleteSiblings(cell);
    Count(cell);
    host.smt = host.smt || cell.counts.smt;
    host.sockets_known = host.sockets_known && cell.socket.has_value();
    host.pools_overlap = host.pools_overlap || cell.counts.overlap;
  }
  host.types = &types;
  GroupDevices(host, types);
}

FitHost FromHost(const placement::HostReport& report, const placement::HostUsage& usage, DeviceTypes& types) {
  FitHost host;
  host.rules = FitRules::kClaims;
  host.can_run_guests = report.can_run_guests;
  host.cpu_ratio = report.cpu_allocation_ratio;
  host.ram_ratio = report.ram_allocation_ratio;
  host.cells.reserve(report.cells.size());
  for (const placement::Cell& cell : report.cells) {
    host.cells.push_back(FromCell(report, cell, placement::UsageOfCell(usage, cell.id)));
  }
  std::set<PciAddress> blocked = placement::BlockedDevices(report, usage);
  host.devices.reserve(report.devices.size());
  for (const placement::Device& device : report.devices) {
    if (!device.assignable || blocked.contains(device.address)) continue;
    host.devices.push_back({device.address, KindOf(device.type), device.vendor_id, device.product_id,
                            device.numa_node, device.parent, device.physical_network, device.trusted,
                            device.remote_managed, device.resource_class, device.traits, device.domains, 0});
  }
  host.floating_vcpus = usage.floating_vcpus;
  if (report.disk_bytes > 0)
    host.disk_room_bytes = report.disk_bytes - std::min(report.disk_bytes, usage.disk_bytes);
  host.base_room_bytes = placement::BaseMemoryRoom(report, usage);
  Prepare(host, types);
  return host;
}

}  // namespace berth::scheduler
