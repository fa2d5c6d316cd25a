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

void SortAndCheck(std::vector<MemoryRegion>& regions, uint64_t& end) {
  std::sort(regions.begin(), regions.end(),
            [](const MemoryRegion& a, const MemoryRegion& b) { return Raw(a.base) < Raw(b.base); });
  for (const MemoryRegion& region : regions) {
    CHECK(Raw(region.base) >= end);
    end = Raw(region.base) + region.size;
  }
}

const MemoryRegion* RegionAt(const std::vector<MemoryRegion>& regions, Gpa gpa) {
  auto after =
      std::upper_bound(regions.begin(), regions.end(), Raw(gpa),
                       [](uint64_t address, const MemoryRegion& r) { return address < Raw(r.base); });
  if (after == regions.begin()) return nullptr;
  const MemoryRegion& region = *(after - 1);
  return Raw(gpa) - Raw(region.base) < region.size ? &region : nullptr;
}

}  // namespace

GuestMemory::GuestMemory(std::vector<MemoryRegion> regions, std::vector<MemoryRegion> hotplug)
    : regions_(std::move(regions)), hotplug_(std::move(hotplug)) {
  uint64_t end = 0;
  SortAndCheck(regions_, end);
  SortAndCheck(hotplug_, end);
  for (const MemoryRegion& area : hotplug_) CHECK(area.plug != nullptr && area.plug->size() == area.size);
}

std::vector<MemoryRegion> GuestMemory::PresentRuns() const {
  std::vector<MemoryRegion> runs = regions_;
  for (const MemoryRegion& area : hotplug_) {
    for (const PlugMap::Run& run : area.plug->Runs()) runs.push_back(area.Part(run.offset, run.length));
  }
  return runs;
}

GuestMemory::Piece GuestMemory::Find(Gpa gpa, uint64_t size) const {
  Piece piece;
  piece.region = RegionAt(regions_, gpa);
  if (piece.region == nullptr) piece.region = RegionAt(hotplug_, gpa);
  if (piece.region == nullptr) return piece;
  piece.offset = Raw(gpa) - Raw(piece.region->base);
  piece.length = std::min(size, piece.region->size - piece.offset);
  // A range that ends in memory that is not plugged is an error in any case: no need to know where.
  const PlugMap* plug = piece.region->plug.get();
  if (plug != nullptr && !plug->All(piece.offset, std::max<uint64_t>(piece.length, 1)))
    piece.region = nullptr;
  if (piece.region == nullptr || pages_ == nullptr) return piece;
  const uint64_t visible = pages_->Visible(Raw(gpa), std::max<uint64_t>(piece.length, 1));
  if (visible == 0) piece.region = nullptr;
  piece.length = std::min(piece.length, visible);
  return piece;
}

std::vector<MemoryRegion> GuestMemory::AccessibleRuns() const {
  if (pages_ == nullptr) return PresentRuns();
  constexpr uint64_t kPage = 4096;
  std::vector<MemoryRegion> runs;
  for (const MemoryRegion& run : PresentRuns()) {
    for (uint64_t offset = 0; offset < run.size;) {
      const uint64_t visible = pages_->Visible(Raw(run.base) + offset, run.size - offset);
      if (visible > 0) runs.push_back(run.Part(offset, visible));
      offset += std::max(visible, kPage);
    }
  }
  return runs;
}

std::optional<MemoryRegion> GuestMemory::PartAt(Gpa gpa, uint64_t size) const {
  const Piece piece = Find(gpa, size);
  if (piece.region == nullptr || piece.length < size) return std::nullopt;
  return piece.region->Part(piece.offset, size);
}

std::optional<MemoryRegion> GuestMemory::PartAtHost(const uint8_t* host, uint64_t size) const {
  for (const auto* regions : {&regions_, &hotplug_}) {
    for (const MemoryRegion& region : *regions) {
      if (host < region.host || host >= region.host + region.size) continue;
      return PartAt(region.base + static_cast<uint64_t>(host - region.host), size);
    }
  }
  return std::nullopt;
}

PageHold GuestMemory::Hold(std::span<const std::span<uint8_t>> pieces) const {
  if (pages_ == nullptr) return {};
  std::vector<PageRange> ranges;
  for (const std::span<uint8_t> piece : pieces) {
    for (const auto* regions : {&regions_, &hotplug_}) {
      for (const MemoryRegion& region : *regions) {
        if (piece.data() < region.host || piece.data() >= region.host + region.size) continue;
        ranges.push_back(
            {Raw(region.base) + static_cast<uint64_t>(piece.data() - region.host), piece.size()});
      }
    }
  }
  return {*pages_, ranges};
}

Result<std::span<uint8_t>> GuestMemory::Span(Gpa gpa, uint64_t size) const {
  const Piece piece = Find(gpa, size);
  if (piece.region == nullptr || piece.length < size) return NotRam(gpa, size);
  return std::span<uint8_t>(piece.region->host + piece.offset, static_cast<size_t>(size));
}

namespace {

// Calls copy(host, done, length) for each contiguous piece, after the whole range was found to be RAM.
template <class FindFn, class CopyFn>
Status ForEachPiece(Gpa gpa, uint64_t size, FindFn find, CopyFn copy) {
  for (bool checking : {true, false}) {
    uint64_t done = 0;
    do {
      if (done > UINT64_MAX - Raw(gpa)) return NotRam(gpa, size);
      const auto piece = find(gpa + done, size - done);
      if (piece.region == nullptr) return NotRam(gpa, size);
      if (!checking && piece.length > 0) copy(piece.region->host + piece.offset, done, piece.length);
      done += piece.length;
    } while (done < size);
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<std::span<uint8_t>>> GuestMemory::Spans(Gpa gpa, uint64_t size) const {
  std::vector<std::span<uint8_t>> spans;
  TRY(ForEachPiece(
      gpa, size, [this](Gpa at, uint64_t left) { return Find(at, left); },
      [&spans](uint8_t* host, uint64_t, uint64_t n) { spans.emplace_back(host, static_cast<size_t>(n)); }));
  return spans;
}

Status GuestMemory::Read(Gpa gpa, std::span<uint8_t> out) const {
  return ForEachPiece(
      gpa, out.size(), [this](Gpa at, uint64_t size) { return Find(at, size); },
      [out](const uint8_t* host, uint64_t done, uint64_t n) { std::memcpy(out.data() + done, host, n); });
}

Status GuestMemory::Write(Gpa gpa, std::span<const uint8_t> in) const {
  return ForEachPiece(
      gpa, in.size(), [this](Gpa at, uint64_t size) { return Find(at, size); },
      [in](uint8_t* host, uint64_t done, uint64_t n) { std::memcpy(host, in.data() + done, n); });
}

}  // namespace berth::vmm
