#pragma once

#include <string>
#include <utility>
#include <vector>

#include "placement/model/claim.h"
#include "placement/model/host.h"

// Short ways to write hosts and claims in tests. Sizes in MiB where the name says so.
namespace berth::placement::testing {

inline constexpr uint64_t kMib = uint64_t{1} << 20;

inline Uuid Id(uint8_t number) {
  Uuid uuid;
  uuid.bytes[0] = 0xBE;
  uuid.bytes[15] = number;
  return uuid;
}

inline PciAddress Pci(uint8_t bus, uint8_t function = 0) {
  return PciAddress{.domain = 0, .bus = bus, .slot = 0, .function = function};
}

// Cores of two threads: CPUs n and n + 1.
inline std::vector<CpuSet> Pairs(const CpuSet& cpus) {
  std::vector<CpuSet> cores;
  std::vector<uint32_t> all = cpus.ToVector();
  for (size_t i = 0; i < all.size(); i += 2) {
    CpuSet core{all[i]};
    if (i + 1 < all.size()) core.Add(all[i + 1]);
    cores.push_back(core);
  }
  return cores;
}

inline Cell MakeCell(NumaNode id, const CpuSet& shared, const CpuSet& dedicated, uint64_t base_mib,
                     uint64_t huge_2mib_pages = 0) {
  Cell cell;
  cell.id = id;
  cell.socket = id / 2;
  cell.shared_cpus = shared;
  cell.dedicated_cpus = dedicated;
  cell.siblings = Pairs(shared | dedicated);
  cell.memory_bytes = base_mib * kMib + huge_2mib_pages * 2 * kMib;
  cell.pages = {{.size_bytes = 4096, .total = base_mib * kMib / 4096, .reserved = 0}};
  if (huge_2mib_pages > 0)
    cell.pages.push_back({.size_bytes = 2 * kMib, .total = huge_2mib_pages, .reserved = 0});
  return cell;
}

inline Device MakeDevice(const PciAddress& address, DeviceType type, std::optional<NumaNode> node = {},
                         std::optional<PciAddress> parent = {}) {
  Device device;
  device.address = address;
  device.vendor_id = "8086";
  device.product_id = type == DeviceType::kVf ? "1889" : "1592";
  device.class_code = 0x020000;
  device.type = type;
  device.parent = parent;
  device.numa_node = node;
  device.assignable = true;
  device.resource_class = "CUSTOM_PCI_8086_" + device.product_id;
  return device;
}

// Cells 0 and 1, each with 4 shared CPUs, 4 dedicated ones, 1024 MiB of base pages and 512 pages of 2 MiB.
// Devices: a plain one (bus 1), a PF (bus 2) with VFs 2.1 and 2.2, on cell 0; a PF (bus 3) with one VF 3.1 on
// cell 1.
inline HostReport MakeHost(uint8_t number = 1) {
  HostReport host;
  host.uuid = Id(number);
  host.name = "host" + std::to_string(number);
  host.can_run_guests = true;
  host.cells = {MakeCell(0, CpuSet::Range(0, 3), CpuSet::Range(4, 7), 1024, 512),
                MakeCell(1, CpuSet::Range(8, 11), CpuSet::Range(12, 15), 1024, 512)};
  host.devices = {MakeDevice(Pci(1), DeviceType::kPci, 0),
                  MakeDevice(Pci(2), DeviceType::kPf, 0),
                  MakeDevice(Pci(2, 1), DeviceType::kVf, 0, Pci(2)),
                  MakeDevice(Pci(2, 2), DeviceType::kVf, 0, Pci(2)),
                  MakeDevice(Pci(3), DeviceType::kPf, 1),
                  MakeDevice(Pci(3, 1), DeviceType::kVf, 1, Pci(3))};
  return host;
}

// A claim of `vcpus` without guest NUMA topology.
inline Claim FloatingClaim(uint8_t number, uint32_t vcpus, uint64_t mib, uint8_t host = 1) {
  Claim claim;
  claim.consumer = Id(static_cast<uint8_t>(100 + number));
  claim.name = "vm" + std::to_string(number);
  claim.host = Id(host);
  claim.spec.flavor = "small";
  claim.spec.vcpus = vcpus;
  claim.spec.memory_bytes = mib * kMib;
  return claim;
}

// A guest cell whose vCPUs first..last float, or are pinned one by one to `host_cpus`.
inline CellBinding GuestCell(uint32_t guest_cell, NumaNode host_cell, uint32_t first, uint32_t last,
                             uint64_t mib, const std::vector<uint32_t>& host_cpus = {},
                             uint64_t page_size = 0) {
  CellBinding cell;
  cell.guest_cell = guest_cell;
  cell.host_cell = host_cell;
  cell.vcpus = CpuSet::Range(first, last);
  for (size_t i = 0; i < host_cpus.size(); ++i) {
    cell.pinning.emplace_back(first + static_cast<uint32_t>(i), host_cpus[i]);
  }
  cell.memory_bytes = mib * kMib;
  cell.page_size_bytes = page_size;
  return cell;
}

inline Claim NumaClaim(uint8_t number, std::vector<CellBinding> cells, uint8_t host = 1) {
  Claim claim = FloatingClaim(number, 0, 0, host);
  for (const CellBinding& cell : cells) {
    claim.spec.vcpus += cell.vcpus.Count();
    claim.spec.memory_bytes += cell.memory_bytes;
  }
  claim.cells = std::move(cells);
  return claim;
}

inline DeviceBinding Bind(const PciAddress& address, uint32_t request = 0) {
  DeviceBinding binding;
  binding.request = request;
  binding.address = address;
  binding.alias = "nic";
  return binding;
}

}  // namespace berth::placement::testing
