#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/mappings.h"
#include "vmm/viommu/vtd/spec.h"

// The guest's tables: root, context and second-level entries of legacy mode (VT-d 3.4, 3.7, 9.1 to 9.4).
// Everything is read from guest memory, once, and trusted in nothing.
namespace berth::vmm::vtd {

// What the unit can translate.
struct Limits {
  uint32_t address_width = 48;  // of a device's addresses: 39 (tables of three levels) or 48 (three or four)
  uint32_t physical_bits = 46;  // of guest-physical addresses; what is above is reserved in every entry
};

// What a context entry says of a device.
struct Context {
  enum class Kind { kTranslate, kPassThrough };
  Kind kind = Kind::kTranslate;
  uint16_t domain = 0;  // DID
  uint64_t table = 0;   // guest-physical, of the top level
  uint32_t levels = 0;  // 3 or 4
  bool quiet = false;   // FPD: faults of this device are not recorded

  friend bool operator==(const Context&, const Context&) = default;
};
struct ContextResult {
  Context context;
  Reason reason = Reason::kNone;  // kNone: the entry is there and right; else only `quiet` counts
};
// The entry of a bus, slot and function (`source`) below the root table at `root`.
ContextResult FindContext(const GuestMemory& memory, uint64_t root, uint16_t source, const Limits& limits);

// Why an access to one address does not happen, or kNone when it does.
Reason CheckAccess(const GuestMemory& memory, const Context& context, uint64_t address, bool write,
                   const Limits& limits);

// Reads second-level tables. Thread-compatible.
class TableReader {
 public:
  TableReader(const GuestMemory& memory, const Limits& limits) : memory_(memory), limits_(limits) {}

  // What is mapped in [first, last], whole pages even where they reach beyond it, in ascending order; pages
  // that follow each other on both sides with the same rights are one mapping, and the interrupt range is
  // never mapped. Entries with reserved bits, and tables outside of RAM, map nothing. False when the budget
  // is used up, or there are more mappings than a domain may have: then `mappings` is not all.
  bool Read(const Context& context, uint64_t first, uint64_t last, std::vector<IommuMapping>& mappings);

  // Tables that may still be read: a guest can link few tables to very large trees.
  uint64_t budget = 0;

 private:
  bool ReadTable(uint64_t table, uint32_t level, uint64_t base, bool read, bool write);
  void Emit(IommuMapping page);

  const GuestMemory& memory_;
  const Limits limits_;
  uint64_t first_ = 0;
  uint64_t last_ = 0;
  std::vector<IommuMapping>* mappings_ = nullptr;
};

}  // namespace berth::vmm::vtd
