#pragma once

#include <map>
#include <set>
#include <vector>

#include "common/status.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::placement {

// What the claims of one host hold in one cell.
struct CellUsage {
  CpuSet pinned_cpus;         // pinned, plus reserved (emulator, blocked siblings)
  uint32_t shared_vcpus = 0;  // floating vCPUs bound to this cell
  // Of guest cells bound here, whatever their page size, and of the bounce buffers of secure ones; not secure
  // memory.
  uint64_t memory_bytes = 0;
  std::map<uint64_t, uint64_t> used_pages;  // page size in bytes -> pages in use
  uint64_t secure_memory_bytes = 0;

  friend bool operator==(const CellUsage&, const CellUsage&) = default;
};

// Everything that the claims of one host hold. Derived from the claims, never stored.
struct HostUsage {
  std::map<NumaNode, CellUsage> cells;
  std::map<PciAddress, Uuid> devices;  // device -> consumer
  uint32_t floating_vcpus = 0;         // of claims without guest NUMA topology
  uint64_t floating_memory_bytes = 0;  // likewise
  uint64_t disk_bytes = 0;

  friend bool operator==(const HostUsage&, const HostUsage&) = default;
};

// Adds (or takes off) what one claim holds. Add checks nothing: see CheckClaim.
void AddClaim(const Claim& claim, HostUsage& usage);
void RemoveClaim(const Claim& claim, HostUsage& usage);

// Whether `claim` may be added to a host with this report and usage. Every rule that keeps a CPU, page, byte
// or device from being given twice is checked here and nowhere else:
//   - every host cell named exists, host cells are distinct, guest cells distinct, vCPUs partition
//   0..spec.vcpus-1;
//   - pinned and reserved CPUs are dedicated CPUs of their cell, distinct within the claim, and free; in a
//   single pool
//     the CPUs left shared still carry the floating vCPUs already there;
//   - floating vCPUs of a cell <= its shared CPUs, and used + n <= shared CPUs x cpu_allocation_ratio (R4);
//   - memory is a multiple of the page size; pages of a named size are free (total - reserved - used); a cell
//   without page size holds at most the base pages of the host cell and, when pinned, those that no claim
//   names (R5); secure memory never overcommits, and its bounce buffer fits in the base-page memory of the
//   cell;
//   - base-page memory (cells without page size or with the base size, claims without cells): used + n <=
//   (memory_bytes - huge pages not reserved) x ram_allocation_ratio, in each host cell for what is bound to
//   it and over the whole host for all of it with what floats. Cells in huge pages do not count there;
//   - devices exist, are assignable and free, PF and its VFs exclude each other (R9);
//   - the disk that claims use is at most the host's, if it tells one;
//   - floating vCPUs of the whole host likewise: used + n <= shared CPUs left x cpu_allocation_ratio.
// Errors: kResourceExhausted or kFailedPrecondition (taken), kInvalidArgument (no such thing); field names
// the place
// ("cells[1].pinning"), the message has and needs, the hint what is there.
Status CheckClaim(const HostReport& host, const HostUsage& usage, const Claim& claim);

// The devices that cannot be given out because they are claimed, or because their PF (or one of their VFs)
// is.
std::set<PciAddress> BlockedDevices(const HostReport& host, const HostUsage& usage);

// Form of a report: unique ascending cells and devices, VFs with parents, CPUs in one cell only, siblings
// cover the CPUs, distances square. kInvalidArgument names the first offence.
Status ValidateReport(const HostReport& report);

}  // namespace berth::placement
