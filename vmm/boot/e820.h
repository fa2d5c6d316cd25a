#pragma once

#include <cstdint>
#include <vector>

#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// One entry of the BIOS memory map in the zero page, as Linux reads it (20 bytes, packed).
struct E820Entry {
  enum Type : uint32_t { kRam = 1, kReserved = 2 };
  uint64_t base = 0;
  uint64_t size = 0;
  Type type = kRam;

  friend bool operator==(const E820Entry&, const E820Entry&) = default;
};

// RAM below the EBDA, RAM from 1 MiB on, the PCI configuration window as reserved. Adjacent regions are
// merged, so that many zones give few entries.
std::vector<E820Entry> BuildE820(const GuestMemory& memory);

}  // namespace berth::vmm
