#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/cpu_set.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What one host cell lacks for one guest cell, in the order in which it is looked for.
enum class CellLack {
  kNothing,
  kDedicatedCpus,  // R3: free dedicated CPUs
  kNoSmt,          // R3: require on a cell without SMT
  kPairedCpus,     // R3: require: free CPUs on cores with two free threads
  kSmtPresent,     // R3: isolate on a cell with SMT whose pools are separate
  kWholeCores,     // R3: isolate in a single pool: cores that are entirely free
  kSharedCpus,     // R4: shared CPUs
  kSharedRoom,     // R4: floating vCPUs within the ratio
  kMemory,         // R4: memory within the ratio (kClaims: base-page memory)
  kPageMultiple,   // R5: memory is no multiple of any allowed page size of the cell
  kPages,          // R5: free (or, floating, total) pages
  kSecureMemory,   // R11: secure memory of the cell
  kBounceBuffer,   // R11: ordinary memory for the bounce buffer of guest cell 0
};

struct CellCheck {
  CellLack lack = CellLack::kNothing;
  uint64_t have = 0;  // CPUs, cores or bytes
  uint64_t need = 0;
  uint64_t page_size_bytes = 0;  // chosen; of kPages: the size that came nearest

  bool fits() const { return lack == CellLack::kNothing; }
};

// Whether guest cell number `guest` fits on host cell number `cell` (an index), by itself.
CellCheck CheckCell(const FitHost& host, const RequestSpec& spec, uint32_t guest, size_t cell);

// The base-page memory that a guest cell takes on a host cell on which it fits: all of its memory, or 0 if
// it gets huge pages there.
uint64_t BaseBytes(const FitHost& host, const RequestSpec& spec, uint32_t guest, size_t cell);

// Concrete CPUs for a guest cell that fits. Takes whole cores where it can, splits as few as possible, never
// a shared CPU while an unshared one serves, lowest numbers first.
struct CellPins {
  std::vector<std::pair<uint32_t, uint32_t>> pinning;
  CpuSet reserved;
};
std::optional<CellPins> ChoosePins(const FitCell& cell, const RequestSpec& spec, uint32_t guest);

// The host CPUs that ChoosePins takes in all.
CpuSet TakenCpus(const CellPins& pins);

}  // namespace berth::scheduler
