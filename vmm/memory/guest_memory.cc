#include "vmm/memory/guest_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

Status NotRam(Gpa gpa, uint64_t size) {
  char text[96];
  std::snprintf(text, sizeof text, "guest-physical range %#llx+%#llx is not RAM",
                static_cast<unsigned long long>(Raw(gpa)), static_cast<unsigned long long>(size));
  return OutOfRange(text);
}

}  // namespace

GuestMemory::GuestMemory(std::vector<MemoryRegion> regions) : regions_(std::move(regions)) {
  std::sort(regions_.begin(), regions_.end(),
            [](const MemoryRegion& a, const MemoryRegion& b) { return Raw(a.base) < Raw(b.base); });
  for (size_t i = 1; i < regions_.size(); i++) {
    CHECK(Raw(regions_[i].base) - Raw(regions_[i - 1].base) >= regions_[i - 1].size);
  }
}

const MemoryRegion* GuestMemory::Find(Gpa gpa) const {
  auto after =
      std::upper_bound(regions_.begin(), regions_.end(), Raw(gpa),
                       [](uint64_t address, const MemoryRegion& r) { return address < Raw(r.base); });
  if (after == regions_.begin()) return nullptr;
  const MemoryRegion& region = *(after - 1);
  return Raw(gpa) - Raw(region.base) < region.size ? &region : nullptr;
}

Result<std::span<uint8_t>> GuestMemory::Span(Gpa gpa, uint64_t size) const {
  const MemoryRegion* region = Find(gpa);
  if (region == nullptr) return NotRam(gpa, size);
  uint64_t offset = Raw(gpa) - Raw(region->base);
  if (size > region->size - offset) return NotRam(gpa, size);
  return std::span<uint8_t>(region->host + offset, static_cast<size_t>(size));
}

namespace {

// Calls copy(host, done, length) for each contiguous piece, after the whole range was found to be RAM.
template <class FindFn, class CopyFn>
Status ForEachPiece(Gpa gpa, uint64_t size, FindFn find, CopyFn copy) {
  for (bool checking : {true, false}) {
    uint64_t done = 0;
    do {
      if (done > UINT64_MAX - Raw(gpa)) return NotRam(gpa, size);
      const MemoryRegion* region = find(gpa + done);
      if (region == nullptr) return NotRam(gpa, size);
      uint64_t offset = Raw(gpa) + done - Raw(region->base);
      uint64_t length = std::min(size - done, region->size - offset);
      if (!checking && length > 0) copy(region->host + offset, done, length);
      done += length;
    } while (done < size);
  }
  return OkStatus();
}

}  // namespace

Status GuestMemory::Read(Gpa gpa, std::span<uint8_t> out) const {
  return ForEachPiece(
      gpa, out.size(), [this](Gpa at) { return Find(at); },
      [out](const uint8_t* host, uint64_t done, uint64_t n) { std::memcpy(out.data() + done, host, n); });
}

Status GuestMemory::Write(Gpa gpa, std::span<const uint8_t> in) const {
  return ForEachPiece(
      gpa, in.size(), [this](Gpa at) { return Find(at); },
      [in](uint8_t* host, uint64_t done, uint64_t n) { std::memcpy(host, in.data() + done, n); });
}

}  // namespace berth::vmm
