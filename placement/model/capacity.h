#pragma once

#include <cstdint>

#include "common/cpu_set.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"

// What is left of one host: the single definition that CheckClaim, the schedulers and the displays share.
// Pure functions of a report and the usage of its claims.
namespace berth::placement {

// amount x ratio, rounded down, saturating; the comparison "used <= amount x ratio" on integers.
uint64_t WithRatio(uint64_t amount, double ratio);

// The report's cell with this number, or nullptr.
const Cell* FindCell(const HostReport& host, NumaNode id);
// The report's device with this address, or nullptr. Devices must ascend by address.
const Device* FindDevice(const HostReport& host, const PciAddress& address);
// What claims hold in the cell; an empty usage when nothing does. The reference lives as long as `usage`.
const CellUsage& UsageOfCell(const HostUsage& usage, NumaNode id);

// Dedicated CPUs that no claim pins or reserves.
CpuSet FreeDedicatedCpus(const Cell& cell, const CellUsage& usage);
// Shared CPUs that no claim has pinned: fewer than cell.shared_cpus only in a single pool, where both sets
// overlap.
CpuSet RemainingSharedCpus(const Cell& cell, const CellUsage& usage);
// Pages of this size that may still be handed out: total - reserved - used, 0 without such a pool.
uint64_t FreePages(const Cell& cell, const CellUsage& usage, uint64_t page_size_bytes);
// Bytes per base page (the smallest pool), 0 if the cell has no pool.
uint64_t BasePageSize(const Cell& cell);
// Whether a guest cell that asks for this page size lies in base pages: it names none (0) or the base size.
bool IsBasePage(const Cell& cell, uint64_t page_size_bytes);

// Base-page memory: what is left of a cell's memory beside its huge pages. Guest cells in base pages and
// claims that float over the whole host share it, up to ram_allocation_ratio; guest cells in huge pages are
// bounded by their pools alone and take nothing from it. Secure memory is counted apart. All in bytes.
//
// memory_bytes less the huge pages that it still contains (reserved ones are taken off it already). A cell
// without pools has base pages only.
uint64_t BaseMemory(const Cell& cell);
// Of what claims hold in the cell, the part in base pages.
uint64_t BaseMemoryUsed(const Cell& cell, const CellUsage& usage);
// What further guest cells may take of it together: BaseMemory x ratio - used.
uint64_t BaseMemoryRoom(const HostReport& host, const Cell& cell, const CellUsage& usage);
// What one guest cell may take at most, whatever the ratio: all base pages, or without pools BaseMemory.
uint64_t LargestBaseMemory(const Cell& cell);
// The same for a pinned guest cell: base pages neither reserved nor named by claims, or BaseMemory.
uint64_t LargestPinnedBaseMemory(const Cell& cell, const CellUsage& usage);

// Floating vCPUs that the host's shared CPUs carry in all, and those that claims have (cells and claims
// without guest topology together).
uint64_t SharedVcpuCapacity(const HostReport& host, const HostUsage& usage);
uint64_t SharedVcpusUsed(const HostUsage& usage);
// The same for base-page memory, bytes: the cells' sum x ratio; what is bound to cells and what floats.
uint64_t BaseMemoryCapacity(const HostReport& host);
uint64_t BaseMemoryUsed(const HostReport& host, const HostUsage& usage);
uint64_t BaseMemoryRoom(const HostReport& host, const HostUsage& usage);

}  // namespace berth::placement
