#pragma once

#include <random>
#include <utility>
#include <vector>

#include "tests/placement/model/model_builders.h"

// Random hosts and claims that fit each other about half of the time.
namespace berth::placement::testing {

using Random = std::mt19937;

inline uint32_t Pick(Random& random, uint32_t below) {
  return below == 0 ? 0 : static_cast<uint32_t>(random()) % below;
}

inline HostReport RandomHost(Random& random) {
  HostReport host = MakeHost();
  constexpr double kRatios[] = {1.0, 1.0, 1.5, 2.0, 16.0};
  host.cpu_allocation_ratio = kRatios[Pick(random, 5)];
  host.ram_allocation_ratio = kRatios[Pick(random, 4)];
  if (Pick(random, 3) == 0) {  // a single pool
    for (Cell& cell : host.cells)
      cell.shared_cpus = cell.dedicated_cpus = cell.shared_cpus | cell.dedicated_cpus;
  }
  for (Cell& cell : host.cells) {
    cell.secure_memory_bytes = Pick(random, 2) * 256 * kMib;
    cell.pages[1].reserved = Pick(random, 100);
    cell.memory_bytes -= cell.pages[1].reserved * cell.pages[1].size_bytes;
    if (Pick(random, 8) == 0) cell.pages.clear();  // a host that does not tell its pages
  }
  for (Device& device : host.devices) device.assignable = Pick(random, 8) != 0;
  return host;
}

inline CellBinding RandomCell(Random& random, uint32_t guest_cell, uint32_t first, uint32_t last) {
  constexpr uint64_t kPageSizes[] = {0, 0, 0, 4096, 2 * kMib, 1024 * kMib};
  CellBinding cell = GuestCell(guest_cell, Pick(random, 16) == 0 ? 5 : Pick(random, 2), first, last,
                               64 * (1 + Pick(random, 12)), {}, kPageSizes[Pick(random, 6)]);
  if (Pick(random, 20) == 0) cell.memory_bytes += 512;
  cell.secure = Pick(random, 6) == 0;
  if (cell.secure) cell.swiotlb_bytes = uint64_t{Pick(random, 3)} << 26;
  if (Pick(random, 2) == 0) {
    for (uint32_t vcpu = first; vcpu <= last; ++vcpu) {
      uint32_t cpu = 8 * cell.host_cell + Pick(random, 8);
      bool used = cell.reserved.Contains(cpu);
      for (const auto& pin : cell.pinning) used = used || pin.second == cpu;
      if (!used && Pick(random, 6) != 0) cell.pinning.emplace_back(vcpu, cpu);
      if (!used && Pick(random, 12) == 0 && (cell.pinning.empty() || cell.pinning.back().second != cpu)) {
        cell.reserved.Add(cpu);
      }
    }
  }
  return cell;
}

inline Claim RandomClaim(Random& random, uint8_t number) {
  Claim claim = FloatingClaim(number, 1 + Pick(random, 4), 64 * (1 + Pick(random, 16)));
  uint32_t cells = Pick(random, 3);
  if (cells > 0) {
    std::vector<CellBinding> list;
    uint32_t vcpu = 0;
    for (uint32_t i = 0; i < cells; ++i) {
      uint32_t count = 1 + Pick(random, 3);
      list.push_back(RandomCell(random, i, vcpu, vcpu + count - 1));
      vcpu += count;
    }
    claim = NumaClaim(number, std::move(list));
  }
  constexpr int kAddresses = 7;
  const PciAddress addresses[kAddresses] = {Pci(1), Pci(2), Pci(2, 1), Pci(2, 2), Pci(3), Pci(3, 1), Pci(9)};
  for (uint32_t n = Pick(random, 3); n > 0; --n)
    claim.devices.push_back(Bind(addresses[Pick(random, kAddresses)], n));
  return claim;
}

}  // namespace berth::placement::testing
