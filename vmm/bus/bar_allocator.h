#pragma once

#include <cstdint>
#include <map>

#include "common/status.h"
#include "vmm/bus/pci_config.h"

namespace berth::vmm {

// A range of guest-physical addresses that a PCI segment decodes for its BARs.
struct PciWindow {
  uint64_t base = 0;
  uint64_t size = 0;  // 0: no window

  bool Contains(uint64_t address, uint64_t length) const {
    return address >= base && length <= size && address - base <= size - length;
  }
};

// Hands out naturally aligned addresses for BARs, lowest first, as firmware would. Thread-compatible.
class BarAllocator {
 public:
  BarAllocator(PciWindow mmio32, PciWindow mmio64, PciWindow io = {});

  // An I/O BAR goes into the I/O window (which lies below all memory windows). A 64-bit BAR goes into the
  // 64-bit window, or, when that has no room, below 4 GiB. `size` is a power of two. kResourceExhausted when
  // there is no room.
  Result<uint64_t> Allocate(BarKind kind, uint64_t size);
  // Takes just this place. kResourceExhausted when it is not free, or in no window.
  Status Reserve(uint64_t address, uint64_t size);
  // Gives back what Allocate returned, or Reserve took.
  void Free(uint64_t address, uint64_t size);
  // Allocates all BARs of a function and writes them into its registers. On error what was allocated stays
  // with the function.
  Status Place(PciConfigSpace& config);

 private:
  using FreeRanges = std::map<uint64_t, uint64_t>;  // base -> size
  static Result<uint64_t> Take(FreeRanges& ranges, uint64_t size);

  PciWindow window64_;
  PciWindow window_io_;
  FreeRanges free32_;
  FreeRanges free64_;
  FreeRanges free_io_;
};

}  // namespace berth::vmm
