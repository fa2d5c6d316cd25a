#include "vmm/bus/bar_allocator.h"

#include <bit>
#include <iterator>
#include <string>

namespace berth::vmm {

BarAllocator::BarAllocator(PciWindow mmio32, PciWindow mmio64, PciWindow io)
    : window64_(mmio64), window_io_(io) {
  if (io.size != 0) free_io_.emplace(io.base, io.size);
  if (mmio32.size != 0) free32_.emplace(mmio32.base, mmio32.size);
  if (mmio64.size != 0) free64_.emplace(mmio64.base, mmio64.size);
}

Result<uint64_t> BarAllocator::Take(FreeRanges& ranges, uint64_t size) {
  for (auto it = ranges.begin(); it != ranges.end(); ++it) {
    const auto [base, length] = *it;
    const uint64_t address = (base + size - 1) & ~(size - 1);
    const uint64_t skipped = address - base;  // address < base only when it wrapped: then this is huge
    if (skipped > length || length - skipped < size) continue;
    ranges.erase(it);
    if (skipped != 0) ranges.emplace(base, skipped);
    if (length - skipped != size) ranges.emplace(address + size, length - skipped - size);
    return address;
  }
  return ResourceExhausted("no room for a BAR of " + std::to_string(size) + " bytes in the PCI windows");
}

Result<uint64_t> BarAllocator::Allocate(BarKind kind, uint64_t size) {
  CHECK(std::has_single_bit(size));
  if (kind == BarKind::kIo) return Take(free_io_, size);
  if (kind == BarKind::kMemory64) {
    Result<uint64_t> high = Take(free64_, size);
    if (high) return high;
  }
  return Take(free32_, size);
}

Status BarAllocator::Reserve(uint64_t address, uint64_t size) {
  for (FreeRanges* ranges : {&free32_, &free64_, &free_io_}) {
    auto after = ranges->upper_bound(address);
    if (after == ranges->begin()) continue;
    const auto [base, length] = *std::prev(after);
    const uint64_t skipped = address - base;
    if (skipped > length || length - skipped < size) continue;
    ranges->erase(std::prev(after));
    if (skipped != 0) ranges->emplace(base, skipped);
    if (length - skipped != size) ranges->emplace(address + size, length - skipped - size);
    return OkStatus();
  }
  return ResourceExhausted("the place of a BAR of " + std::to_string(size) + " bytes is not free");
}

void BarAllocator::Free(uint64_t address, uint64_t size) {
  FreeRanges& ranges = window64_.Contains(address, size)    ? free64_
                       : window_io_.Contains(address, size) ? free_io_
                                                            : free32_;
  auto [it, inserted] = ranges.emplace(address, size);
  CHECK(inserted);
  auto next = std::next(it);
  if (next != ranges.end() && it->first + it->second == next->first) {
    it->second += next->second;
    ranges.erase(next);
  }
  if (it == ranges.begin()) return;
  auto previous = std::prev(it);
  if (previous->first + previous->second == it->first) {
    previous->second += it->second;
    ranges.erase(it);
  }
}

Status BarAllocator::Place(PciConfigSpace& config) {
  for (uint32_t index = 0; index < PciConfigSpace::kBars; ++index) {
    const auto bar = config.bar(index);
    if (!bar) continue;
    TRY_ASSIGN(const uint64_t address, Allocate(bar->kind, bar->size));
    config.SetBarAddress(index, address);
  }
  return OkStatus();
}

}  // namespace berth::vmm
