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

// What one guest cell asks of a host cell, counted once for all of them.
struct CellNeed {
  uint32_t guest = 0;
  uint32_t pinned = 0;    // vCPUs that take a dedicated CPU each
  uint32_t floating = 0;  // the others
  uint32_t emulator = 0;  // CPUs for the emulator beside them
  uint64_t memory_bytes = 0;
  uint64_t swiotlb_bytes = 0;  // of guest cell 0

  // Whether host cells can not tell the two apart.
  bool SameAs(const CellNeed& other) const {
    return pinned == other.pinned && floating == other.floating && emulator == other.emulator &&
           memory_bytes == other.memory_bytes && swiotlb_bytes == other.swiotlb_bytes;
  }
};
CellNeed NeedOf(const RequestSpec& spec, uint32_t guest);

// Whether a guest cell fits on this host cell, by itself.
CellCheck CheckCell(const FitHost& host, const RequestSpec& spec, const CellNeed& need, const FitCell& cell);
// Likewise for guest cell number `guest` and host cell number `cell` (an index).
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
