#include "placement/model/usage.h"

#include <algorithm>

#include "placement/model/capacity.h"

namespace berth::placement {
namespace {

std::string Text(uint64_t value) {
  return std::to_string(value);
}

CpuSet HostCpus(const CellBinding& cell) {
  CpuSet cpus = cell.reserved;
  for (const auto& [guest, host] : cell.pinning) cpus.Add(host);
  return cpus;
}

// vCPUs of the guest cell that no pin names.
uint32_t FloatingVcpus(const CellBinding& cell) {
  uint32_t vcpus = cell.vcpus.Count();
  auto pinned = static_cast<uint32_t>(cell.pinning.size());
  return vcpus > pinned ? vcpus - pinned : 0;
}

// "have 3, need 5" with the names of what is counted.
Status Lacks(std::string what, uint64_t have, uint64_t need, std::string field, std::string hint = {}) {
  return ResourceExhausted(std::move(what) + ": have " + Text(have) + ", need " + Text(need),
                           std::move(field), std::move(hint));
}

// Guest side of one cell: pins name vCPUs of this cell once each, in order, and host CPUs once each.
Status CheckPinning(const CellBinding& cell, const std::string& at) {
  CpuSet hosts;
  for (size_t i = 0; i < cell.pinning.size(); ++i) {
    auto [guest, host] = cell.pinning[i];
    if (host > CpuSet::kMaxCpu) {
      return InvalidArgument("host CPU " + Text(host) + " is out of range", at + ".pinning",
                             "allowed: 0.." + Text(CpuSet::kMaxCpu));
    }
    if (!cell.vcpus.Contains(guest)) {
      return InvalidArgument(
          "guest CPU " + Text(guest) + " is not one of the cell's vCPUs " + cell.vcpus.ToString(),
          at + ".pinning");
    }
    if (i > 0 && cell.pinning[i - 1].first >= guest) {
      return InvalidArgument("guest CPU " + Text(guest) + " follows " + Text(cell.pinning[i - 1].first),
                             at + ".pinning", "each guest CPU once, ascending");
    }
    if (hosts.Contains(host)) {
      return InvalidArgument("host CPU " + Text(host) + " is named twice", at + ".pinning");
    }
    if (cell.reserved.Contains(host)) {
      return InvalidArgument("host CPU " + Text(host) + " is both pinned and reserved", at + ".reserved");
    }
    hosts.Add(host);
  }
  return OkStatus();
}

// What the claim says about itself, without the host (R2).
Status CheckShape(const Claim& claim) {
  const bool none = claim.spec.vcpus == 0;
  if ((none && !claim.external) || claim.spec.vcpus > CpuSet::kMaxCpu + 1) {
    return InvalidArgument("the instance has " + Text(claim.spec.vcpus) + " vCPUs", "spec.vcpus",
                           "allowed: 1.." + Text(CpuSet::kMaxCpu + 1));
  }
  CpuSet vcpus;
  std::set<uint32_t> guest_cells;
  std::set<NumaNode> host_cells;
  for (size_t i = 0; i < claim.cells.size(); ++i) {
    const CellBinding& cell = claim.cells[i];
    std::string at = "cells[" + Text(i) + "]";
    if (!guest_cells.insert(cell.guest_cell).second) {
      return InvalidArgument("guest cell " + Text(cell.guest_cell) + " is bound twice", at + ".guest_cell");
    }
    if (!host_cells.insert(cell.host_cell).second) {
      return InvalidArgument("host cell " + Text(cell.host_cell) + " carries two guest cells",
                             at + ".host_cell", "guest cells go to distinct host cells");
    }
    if (vcpus.Intersects(cell.vcpus)) {
      return InvalidArgument("vCPUs " + (vcpus & cell.vcpus).ToString() + " are in another guest cell too",
                             at + ".vcpus");
    }
    vcpus |= cell.vcpus;
    TRY(CheckPinning(cell, at));
  }
  CpuSet all = none ? CpuSet() : CpuSet::Range(0, claim.spec.vcpus - 1);
  if (!claim.cells.empty() && vcpus != all) {
    return InvalidArgument("the guest cells hold vCPUs " + vcpus.ToString() + ", the instance has " +
                               (none ? "none" : all.ToString()),
                           "cells", "guest cells partition the instance's vCPUs");
  }
  return OkStatus();
}

// Pinned and reserved CPUs: dedicated and free.
Status CheckExactCpus(const Cell& cell, const CellUsage& used, const CpuSet& cpus, const std::string& at) {
  if (CpuSet strange = cpus - cell.dedicated_cpus; !strange.empty()) {
    return InvalidArgument(
        "CPUs " + strange.ToString() + " are not dedicated CPUs of host cell " + Text(cell.id), at,
        "dedicated: " + cell.dedicated_cpus.ToString());
  }
  if (CpuSet taken = cpus & used.pinned_cpus; !taken.empty()) {
    return FailedPrecondition(
        "CPUs " + taken.ToString() + " of host cell " + Text(cell.id) + " are held by other claims", at,
        "free: " + FreeDedicatedCpus(cell, used).ToString());
  }
  return OkStatus();
}

// R4, and the same for what floats already when a single pool loses CPUs to pins.
Status CheckSharedCpus(const HostReport& host, const Cell& cell, const CellUsage& used,
                       const CellBinding& binding, const CpuSet& pinned, const std::string& at) {
  CpuSet left = RemainingSharedCpus(cell, used) - pinned;
  uint32_t floating = FloatingVcpus(binding);
  if (floating > left.Count()) {
    return Lacks("shared CPUs of host cell " + Text(cell.id) + " for one guest cell", left.Count(), floating,
                 at + ".vcpus", "shared and not pinned: " + left.ToString());
  }
  uint64_t capacity = WithRatio(left.Count(), host.cpu_allocation_ratio);
  uint64_t wanted = uint64_t{used.shared_vcpus} + floating;
  bool touched = floating > 0 || pinned.Intersects(cell.shared_cpus);
  if (touched && wanted > capacity) {
    return Lacks("vCPUs on shared CPUs of host cell " + Text(cell.id), capacity, wanted,
                 at + (floating > 0 ? ".vcpus" : ".pinning"),
                 Text(used.shared_vcpus) + " float there already on " + left.ToString());
  }
  return OkStatus();
}

Status CheckSecureMemory(const Cell& cell, const CellUsage& used, const CellBinding& binding,
                         const std::string& at) {
  constexpr uint64_t kGranule = uint64_t{2} << 20;  // seed 000: secure memory is 2 MiB aligned
  uint64_t unit = binding.page_size_bytes == 0 ? kGranule : binding.page_size_bytes;
  if (binding.memory_bytes % unit != 0) {
    return InvalidArgument(
        "secure memory of " + Text(binding.memory_bytes) + " bytes is not a multiple of " + Text(unit),
        at + ".memory_bytes");
  }
  uint64_t free = cell.secure_memory_bytes > used.secure_memory_bytes
                      ? cell.secure_memory_bytes - used.secure_memory_bytes
                      : 0;
  if (binding.memory_bytes > free) {
    return Lacks("secure memory of host cell " + Text(cell.id) + " in bytes", free, binding.memory_bytes,
                 at + ".memory_bytes");
  }
  return OkStatus();
}

// Seed 000, "SWIOTLB Buffer": it lies in the ordinary memory of the same cell.
Status CheckBounceBuffer(const HostReport& host, const Cell& cell, const CellUsage& used,
                         const CellBinding& binding, const std::string& at) {
  if (!binding.secure && binding.swiotlb_bytes > 0) {
    return InvalidArgument("a cell without secure memory has no bounce buffer", at + ".swiotlb_bytes");
  }
  uint64_t room = BaseMemoryRoom(host, cell, used);
  if (binding.swiotlb_bytes <= room) return OkStatus();
  return Lacks("ordinary memory of host cell " + Text(cell.id) + " for the bounce buffer, in bytes", room,
               binding.swiotlb_bytes, at + ".swiotlb_bytes");
}

// R5 with a page size: pages of the pool.
Status CheckNamedPages(const Cell& cell, const CellUsage& used, const CellBinding& binding,
                       const std::string& at) {
  uint64_t size = binding.page_size_bytes;
  auto pool = std::find_if(cell.pages.begin(), cell.pages.end(),
                           [size](const PagePool& p) { return p.size_bytes == size; });
  if (pool == cell.pages.end()) {
    std::string sizes;
    for (const PagePool& p : cell.pages) sizes += (sizes.empty() ? "" : ", ") + Text(p.size_bytes);
    return InvalidArgument("host cell " + Text(cell.id) + " has no pages of " + Text(size) + " bytes",
                           at + ".page_size_bytes", "sizes there: " + sizes);
  }
  if (binding.memory_bytes % size != 0) {
    return InvalidArgument(
        Text(binding.memory_bytes) + " bytes are not a multiple of the page size " + Text(size),
        at + ".memory_bytes");
  }
  uint64_t free = FreePages(cell, used, size);
  if (binding.memory_bytes / size > free) {
    return Lacks("pages of " + Text(size) + " bytes in host cell " + Text(cell.id), free,
                 binding.memory_bytes / size, at + ".memory_bytes",
                 Text(pool->total) + " in all, " + Text(pool->reserved) + " reserved");
  }
  return OkStatus();
}

// R5 without a page size: base pages of the cell, unless it is pinned whether or not they are taken.
Status CheckUnnamedPages(const Cell& cell, const CellUsage& used, const CellBinding& binding,
                         const std::string& at) {
  uint64_t base = BasePageSize(cell);
  uint64_t need = binding.memory_bytes;
  if (base != 0 && need % base != 0) {
    return InvalidArgument(Text(need) + " bytes are not a multiple of the base page size " + Text(base),
                           at + ".memory_bytes");
  }
  uint64_t largest = LargestBaseMemory(cell);
  if (need > largest) {
    return Lacks("base pages of host cell " + Text(cell.id) + " in bytes", largest, need,
                 at + ".memory_bytes");
  }
  uint64_t free = LargestPinnedBaseMemory(cell, used);
  if (!binding.pinning.empty() && need > free) {
    return Lacks("free base pages of host cell " + Text(cell.id) + " for a pinned guest cell, in bytes", free,
                 need, at + ".memory_bytes");
  }
  return OkStatus();
}

// R4: base-page memory of the cell, named or not, overcommitted by the ratio.
Status CheckBaseMemory(const HostReport& host, const Cell& cell, const CellUsage& used,
                       const CellBinding& binding, const std::string& at) {
  uint64_t room = BaseMemoryRoom(host, cell, used);
  if (binding.memory_bytes <= room) return OkStatus();
  return Lacks("base-page memory of host cell " + Text(cell.id) + " in bytes", room, binding.memory_bytes,
               at + ".memory_bytes",
               Text(BaseMemoryUsed(cell, used)) + " of " +
                   Text(WithRatio(BaseMemory(cell), host.ram_allocation_ratio)) + " are held");
}

Status CheckCell(const HostReport& host, const HostUsage& usage, const CellBinding& binding,
                 const std::string& at) {
  const Cell* cell = FindCell(host, binding.host_cell);
  if (cell == nullptr) {
    std::string ids;
    for (const Cell& c : host.cells) ids += (ids.empty() ? "" : ", ") + Text(c.id);
    return InvalidArgument("host " + host.name + " has no cell " + Text(binding.host_cell), at + ".host_cell",
                           "cells there: " + ids);
  }
  const CellUsage& used = UsageOfCell(usage, cell->id);
  CpuSet pins;
  for (const auto& pin : binding.pinning) pins.Add(pin.second);
  TRY(CheckExactCpus(*cell, used, pins, at + ".pinning"));
  TRY(CheckExactCpus(*cell, used, binding.reserved, at + ".reserved"));
  TRY(CheckSharedCpus(host, *cell, used, binding, pins | binding.reserved, at));
  TRY(CheckBounceBuffer(host, *cell, used, binding, at));
  if (binding.secure) return CheckSecureMemory(*cell, used, binding, at);
  if (binding.page_size_bytes != 0) {
    TRY(CheckNamedPages(*cell, used, binding, at));
  } else {
    TRY(CheckUnnamedPages(*cell, used, binding, at));
  }
  return IsBasePage(*cell, binding.page_size_bytes) ? CheckBaseMemory(host, *cell, used, binding, at)
                                                    : OkStatus();
}

// Floating vCPUs of the whole host after the claim, wherever they come from. Needed too when the claim only
// pins: in a single pool that takes shared CPUs away.
Status CheckHostCpus(const HostReport& host, const HostUsage& usage, const Claim& claim) {
  uint64_t new_vcpus = claim.cells.empty() ? claim.spec.vcpus : 0;
  uint64_t left = 0;
  bool pins_shared = false;
  for (const Cell& cell : host.cells) {
    CpuSet shared = RemainingSharedCpus(cell, UsageOfCell(usage, cell.id));
    for (const CellBinding& binding : claim.cells) {
      if (binding.host_cell != cell.id) continue;
      new_vcpus += FloatingVcpus(binding);
      CpuSet cpus = HostCpus(binding);
      pins_shared = pins_shared || cpus.Intersects(cell.shared_cpus);
      shared -= cpus;
    }
    left += shared.Count();
  }
  if (new_vcpus == 0 && !pins_shared) return OkStatus();
  uint64_t capacity = WithRatio(left, host.cpu_allocation_ratio);
  uint64_t wanted = SharedVcpusUsed(usage) + new_vcpus;
  if (wanted > capacity) {
    return Lacks("vCPUs on the host's shared CPUs", capacity, wanted,
                 claim.cells.empty() ? "spec.vcpus" : "cells",
                 Text(SharedVcpusUsed(usage)) + " float there already");
  }
  return OkStatus();
}

// What floats over the whole host lies somewhere: the cells together must still carry it beside what is bound
// to them. All of the claim's cells in base pages count at once; each alone fits in its host cell by now.
Status CheckHostMemory(const HostReport& host, const HostUsage& usage, const Claim& claim) {
  uint64_t room = BaseMemoryRoom(host, usage);
  uint64_t need = claim.cells.empty() ? claim.spec.memory_bytes : 0;
  uint64_t left = room;  // the sum of the cells might wrap
  bool fits = need <= room;
  for (const CellBinding& binding : claim.cells) {
    const Cell* cell = FindCell(host, binding.host_cell);
    if (cell == nullptr || (!binding.secure && !IsBasePage(*cell, binding.page_size_bytes))) continue;
    uint64_t bytes = binding.secure ? binding.swiotlb_bytes : binding.memory_bytes;
    fits = fits && bytes <= left;
    left -= fits ? bytes : 0;
    need += bytes;
  }
  if (fits) return OkStatus();
  return Lacks("base-page memory of the host in bytes", room, need,
               claim.cells.empty() ? "spec.memory_bytes" : "cells",
               Text(BaseMemoryUsed(host, usage)) + " of " + Text(BaseMemoryCapacity(host)) + " are held");
}

// The PF of a VF that the usage or `also` holds, and the VFs of a PF held.
const PciAddress* Relative(const Device& device, const std::set<PciAddress>& held, const HostReport& host) {
  if (device.parent && held.contains(*device.parent)) return &*device.parent;
  if (device.type != DeviceType::kPf) return nullptr;
  for (const Device& other : host.devices) {
    if (other.parent == device.address && held.contains(other.address)) return &other.address;
  }
  return nullptr;
}

Status CheckDevices(const HostReport& host, const HostUsage& usage, const Claim& claim) {
  if (claim.devices.empty()) return OkStatus();
  std::set<PciAddress> held;
  for (const auto& [address, consumer] : usage.devices) held.insert(address);
  std::set<PciAddress> own;
  for (size_t i = 0; i < claim.devices.size(); ++i) {
    const PciAddress& address = claim.devices[i].address;
    std::string at = "devices[" + Text(i) + "].address";
    std::string name = "device " + address.ToString();
    if (!own.insert(address).second) return InvalidArgument(name + " is named twice", at);
    const Device* device = FindDevice(host, address);
    if (device == nullptr) return InvalidArgument("host " + host.name + " has no " + name, at);
    if (auto holder = usage.devices.find(address); holder != usage.devices.end()) {
      return FailedPrecondition(name + " is held by instance " + holder->second.ToString(), at);
    }
    if (!device->assignable) {
      return FailedPrecondition(name + " is not assignable", at,
                                "no device_spec entry of the host matches it");
    }
    if (const PciAddress* other = Relative(*device, held, host)) {
      return FailedPrecondition(name + " is blocked: " + other->ToString() + " of the same PF is held", at,
                                "a PF and its VFs exclude each other");
    }
    if (const PciAddress* other = Relative(*device, own, host)) {
      return InvalidArgument(name + " and " + other->ToString() + " exclude each other", at,
                             "a PF and its VFs cannot be held together");
    }
  }
  return OkStatus();
}

Status CheckDisk(const HostReport& host, const HostUsage& usage, const Claim& claim) {
  if (claim.spec.disk_bytes == 0 || host.disk_bytes == 0) return OkStatus();
  const uint64_t room = host.disk_bytes - std::min(host.disk_bytes, usage.disk_bytes);
  if (claim.spec.disk_bytes <= room) return OkStatus();
  return Lacks("bytes of disk of host " + host.name, room, claim.spec.disk_bytes, "spec.disk_bytes");
}

}  // namespace

void AddClaim(const Claim& claim, HostUsage& usage) {
  usage.disk_bytes += claim.spec.disk_bytes;
  if (claim.cells.empty()) {
    usage.floating_vcpus += claim.spec.vcpus;
    usage.floating_memory_bytes += claim.spec.memory_bytes;
  }
  for (const CellBinding& binding : claim.cells) {
    CellUsage& cell = usage.cells[binding.host_cell];
    cell.pinned_cpus |= HostCpus(binding);
    cell.shared_vcpus += FloatingVcpus(binding);
    if (binding.secure) {
      cell.secure_memory_bytes += binding.memory_bytes;
      cell.memory_bytes += binding.swiotlb_bytes;
    } else {
      cell.memory_bytes += binding.memory_bytes;
      if (binding.page_size_bytes != 0 && binding.memory_bytes >= binding.page_size_bytes) {
        cell.used_pages[binding.page_size_bytes] += binding.memory_bytes / binding.page_size_bytes;
      }
    }
    // No empty entries: usage is equal whatever the order in which claims came and went.
    if (cell == CellUsage{}) usage.cells.erase(binding.host_cell);
  }
  for (const DeviceBinding& device : claim.devices) usage.devices[device.address] = claim.consumer;
}

void RemoveClaim(const Claim& claim, HostUsage& usage) {
  usage.disk_bytes -= claim.spec.disk_bytes;
  if (claim.cells.empty()) {
    usage.floating_vcpus -= claim.spec.vcpus;
    usage.floating_memory_bytes -= claim.spec.memory_bytes;
  }
  for (const CellBinding& binding : claim.cells) {
    CellUsage& cell = usage.cells[binding.host_cell];
    cell.pinned_cpus -= HostCpus(binding);
    cell.shared_vcpus -= FloatingVcpus(binding);
    if (binding.secure) {
      cell.secure_memory_bytes -= binding.memory_bytes;
      cell.memory_bytes -= binding.swiotlb_bytes;
    } else {
      cell.memory_bytes -= binding.memory_bytes;
      auto pages = cell.used_pages.find(binding.page_size_bytes);
      if (pages != cell.used_pages.end()) {
        pages->second -= binding.memory_bytes / binding.page_size_bytes;
        if (pages->second == 0) cell.used_pages.erase(pages);
      }
    }
    if (cell == CellUsage{}) usage.cells.erase(binding.host_cell);
  }
  for (const DeviceBinding& device : claim.devices) {
    auto held = usage.devices.find(device.address);
    if (held != usage.devices.end() && held->second == claim.consumer) usage.devices.erase(held);
  }
}

Status CheckClaim(const HostReport& host, const HostUsage& usage, const Claim& claim) {
  TRY(CheckShape(claim));
  for (size_t i = 0; i < claim.cells.size(); ++i) {
    TRY(CheckCell(host, usage, claim.cells[i], "cells[" + Text(i) + "]"));
  }
  TRY(CheckHostCpus(host, usage, claim));
  TRY(CheckHostMemory(host, usage, claim));
  TRY(CheckDisk(host, usage, claim));
  return CheckDevices(host, usage, claim);
}

std::set<PciAddress> BlockedDevices(const HostReport& host, const HostUsage& usage) {
  std::set<PciAddress> blocked;
  for (const auto& [address, consumer] : usage.devices) blocked.insert(address);
  for (const Device& device : host.devices) {
    if (!device.parent) continue;
    // Each direction only from what is claimed, so that one claimed VF does not block its siblings.
    if (usage.devices.contains(device.address)) blocked.insert(*device.parent);
    if (usage.devices.contains(*device.parent)) blocked.insert(device.address);
  }
  return blocked;
}

}  // namespace berth::placement
