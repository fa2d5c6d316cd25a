#include "placement/model/capacity.h"

#include <algorithm>
#include <limits>

namespace berth::placement {
namespace {

// Sums of outside values saturate: a wrapped total would hand out what does not exist.
uint64_t Add(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b ? std::numeric_limits<uint64_t>::max() : a + b;
}

uint64_t Less(uint64_t a, uint64_t b) {
  return a > b ? a - b : 0;
}

// The product fits for the pools of a valid report; usage is what those pools held.
uint64_t Bytes(uint64_t pages, uint64_t size) {
  return size != 0 && pages > std::numeric_limits<uint64_t>::max() / size
             ? std::numeric_limits<uint64_t>::max()
             : pages * size;
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
  static const CellUsage kNothing{};
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
    return Less(pool.total, taken);
  }
  return 0;
}

uint64_t BasePageSize(const Cell& cell) {
  return cell.pages.empty() ? 0 : cell.pages.front().size_bytes;
}

bool IsBasePage(const Cell& cell, uint64_t page_size_bytes) {
  return page_size_bytes == 0 || page_size_bytes == BasePageSize(cell);
}

uint64_t BaseMemory(const Cell& cell) {
  uint64_t bytes = cell.memory_bytes;
  for (const PagePool& pool : cell.pages) {
    if (IsBasePage(cell, pool.size_bytes)) continue;
    bytes = Less(bytes, Bytes(Less(pool.total, pool.reserved), pool.size_bytes));
  }
  return bytes;
}

uint64_t BaseMemoryUsed(const Cell& cell, const CellUsage& usage) {
  uint64_t bytes = usage.memory_bytes;
  for (const auto& [size, pages] : usage.used_pages) {
    if (!IsBasePage(cell, size)) bytes = Less(bytes, Bytes(pages, size));
  }
  return bytes;
}

uint64_t BaseMemoryRoom(const HostReport& host, const Cell& cell, const CellUsage& usage) {
  return Less(WithRatio(BaseMemory(cell), host.ram_allocation_ratio), BaseMemoryUsed(cell, usage));
}

uint64_t LargestBaseMemory(const Cell& cell) {
  if (cell.pages.empty()) return BaseMemory(cell);
  return Bytes(cell.pages.front().total, cell.pages.front().size_bytes);
}

uint64_t LargestPinnedBaseMemory(const Cell& cell, const CellUsage& usage) {
  if (cell.pages.empty()) return BaseMemory(cell);
  return Bytes(FreePages(cell, usage, BasePageSize(cell)), BasePageSize(cell));
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

uint64_t BaseMemoryCapacity(const HostReport& host) {
  uint64_t bytes = 0;
  for (const Cell& cell : host.cells) bytes = Add(bytes, BaseMemory(cell));
  return WithRatio(bytes, host.ram_allocation_ratio);
}

uint64_t BaseMemoryUsed(const HostReport& host, const HostUsage& usage) {
  uint64_t bytes = usage.floating_memory_bytes;
  for (const Cell& cell : host.cells) {
    bytes = Add(bytes, BaseMemoryUsed(cell, UsageOfCell(usage, cell.id)));
  }
  return bytes;
}

uint64_t BaseMemoryRoom(const HostReport& host, const HostUsage& usage) {
  return Less(BaseMemoryCapacity(host), BaseMemoryUsed(host, usage));
}

}  // namespace berth::placement
