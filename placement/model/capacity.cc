#include "placement/model/capacity.h"

#include <algorithm>
#include <limits>

namespace berth::placement {
namespace {

// Sums of outside values saturate: a wrapped total would hand out what does not exist.
uint64_t Add(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b ? std::numeric_limits<uint64_t>::max() : a + b;
}

}  // namespace

uint64_t WithRatio(uint64_t amount, double ratio) {
  if (ratio == 1.0) return amount;
  if (!(ratio > 0)) return 0;
  double product = static_cast<double>(amount) * ratio;
  if (product >= 18446744073709551615.0) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint64_t>(product);
}

const Cell* FindCell(const HostReport& host, NumaNode id) {
  for (const Cell& cell : host.cells) {
    if (cell.id == id) return &cell;
  }
  return nullptr;
}

const Device* FindDevice(const HostReport& host, const PciAddress& address) {
  auto at = std::lower_bound(host.devices.begin(), host.devices.end(), address,
                             [](const Device& device, const PciAddress& a) { return device.address < a; });
  return at != host.devices.end() && at->address == address ? &*at : nullptr;
}

const CellUsage& UsageOfCell(const HostUsage& usage, NumaNode id) {
  static const CellUsage kNothing;
  auto at = usage.cells.find(id);
  return at == usage.cells.end() ? kNothing : at->second;
}

CpuSet FreeDedicatedCpus(const Cell& cell, const CellUsage& usage) {
  return cell.dedicated_cpus - usage.pinned_cpus;
}

CpuSet RemainingSharedCpus(const Cell& cell, const CellUsage& usage) {
  return cell.shared_cpus - usage.pinned_cpus;
}

uint64_t FreePages(const Cell& cell, const CellUsage& usage, uint64_t page_size_bytes) {
  for (const PagePool& pool : cell.pages) {
    if (pool.size_bytes != page_size_bytes) continue;
    auto at = usage.used_pages.find(page_size_bytes);
    uint64_t taken = Add(pool.reserved, at == usage.used_pages.end() ? 0 : at->second);
    return pool.total > taken ? pool.total - taken : 0;
  }
  return 0;
}

uint64_t BasePageSize(const Cell& cell) {
  return cell.pages.empty() ? 0 : cell.pages.front().size_bytes;
}

uint64_t SharedVcpuCapacity(const HostReport& host, const HostUsage& usage) {
  uint64_t cpus = 0;
  for (const Cell& cell : host.cells) cpus += RemainingSharedCpus(cell, UsageOfCell(usage, cell.id)).Count();
  return WithRatio(cpus, host.cpu_allocation_ratio);
}

uint64_t SharedVcpusUsed(const HostUsage& usage) {
  uint64_t vcpus = usage.floating_vcpus;
  for (const auto& [id, cell] : usage.cells) vcpus += cell.shared_vcpus;
  return vcpus;
}

uint64_t MemoryCapacity(const HostReport& host) {
  uint64_t bytes = 0;
  for (const Cell& cell : host.cells) bytes = Add(bytes, cell.memory_bytes);
  return WithRatio(bytes, host.ram_allocation_ratio);
}

uint64_t MemoryUsed(const HostUsage& usage) {
  uint64_t bytes = usage.floating_memory_bytes;
  for (const auto& [id, cell] : usage.cells) bytes = Add(bytes, cell.memory_bytes);
  return bytes;
}

}  // namespace berth::placement
