#include "vmm/vfio/bars.h"

#include <algorithm>

#include "common/log.h"
#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

bool Inside(const std::optional<VfioArea>& area, uint64_t offset, size_t size) {
  return area.has_value() && offset >= area->offset && offset + size <= area->end();
}

}  // namespace

std::vector<VfioArea> PagesWithout(const std::vector<VfioArea>& mappable,
                                   const std::vector<VfioArea>& trapped) {
  std::vector<VfioArea> holes;
  for (const VfioArea& area : trapped) {
    const uint64_t first = area.offset / kPage * kPage;
    holes.push_back({first, (area.end() + kPage - 1) / kPage * kPage - first});
  }
  std::sort(holes.begin(), holes.end(),
            [](const VfioArea& a, const VfioArea& b) { return a.offset < b.offset; });
  std::vector<VfioArea> pages;
  for (const VfioArea& area : mappable) {
    uint64_t at = (area.offset + kPage - 1) / kPage * kPage;
    const uint64_t end = area.end() / kPage * kPage;
    for (const VfioArea& hole : holes) {
      if (hole.end() <= at || hole.offset >= end) continue;
      if (hole.offset > at) pages.push_back({at, hole.offset - at});
      at = std::max(at, hole.end());
    }
    if (at < end) pages.push_back({at, end - at});
  }
  return pages;
}

void AssignedBar::Read(uint64_t offset, std::span<uint8_t> data) {
  if (Inside(part_.table, offset, data.size())) {
    return part_.msix->ReadTable(offset - part_.table->offset, data);
  }
  if (Inside(part_.pba, offset, data.size())) return part_.msix->ReadPba(offset - part_.pba->offset, data);
  const VfioRegion& region = device_->info().regions[region_];
  if (!region.readable || offset + data.size() > region.size ||
      !device_->ReadRegion(region_, offset, data).ok()) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});  // as an address that nobody answers at
  }
}

void AssignedBar::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (Inside(part_.table, offset, data.size())) {
    return part_.msix->WriteTable(offset - part_.table->offset, data);
  }
  if (Inside(part_.pba, offset, data.size())) return;  // read-only
  const VfioRegion& region = device_->info().regions[region_];
  if (!region.writable || offset + data.size() > region.size) return;
  if (Status status = device_->WriteRegion(region_, offset, data); !status.ok()) {
    LOG(kDebug, "vfio_bar_write_failed", {{"device", device_->address()}, {"error", status}});
  }
}

Result<std::unique_ptr<BarMapping>> BarMapping::Create(VfioDevice& device, uint32_t region,
                                                       const std::vector<VfioArea>& areas, MemorySlots& slots,
                                                       DmaEngine* dma) {
  std::unique_ptr<BarMapping> mapping(new BarMapping(device, region, slots, dma));
  for (const VfioArea& area : areas) {
    TRY_ASSIGN(uint8_t* host, device.MapRegion(region, area));
    mapping->areas_.push_back({area, host, std::nullopt, std::nullopt});
  }
  return mapping;
}

void BarMapping::MoveTo(std::optional<uint64_t> base) {
  if (base == base_ && base.has_value()) return;
  for (Area& area : areas_) Remove(area);
  base_ = base;
  if (!base_.has_value()) return;
  for (Area& area : areas_) Add(area, *base_);
}

// What the kernel does not let go now is tried again with the next move.
void BarMapping::RemovePeer(Area& area) {
  if (!area.peer.has_value()) return;
  if (Status status = dma_->Unmap(*area.peer, area.area.size); !status.ok()) {
    LOG(kError, "vfio_peer_not_unmapped", {{"device", device_.address()}, {"error", status}});
    return;
  }
  area.peer.reset();
}

void BarMapping::Remove(Area& area) {
  RemovePeer(area);
  if (!area.slot.has_value()) return;
  if (Status status = slots_.Remove(*area.slot); !status.ok()) {
    LOG(kError, "vfio_bar_not_unmapped", {{"device", device_.address()}, {"error", status}});
  }
  area.slot.reset();
}

void BarMapping::Add(Area& area, uint64_t base) {
  Result<uint32_t> slot = slots_.Add(Gpa{base + area.area.offset}, area.area.size, area.host, false);
  if (!slot.has_value()) {
    LOG(kWarning, "vfio_bar_trapped",
        {{"device", device_.address()},
         {"bar", region_},
         {"range", RangeText(base + area.area.offset, area.area.size)},
         {"error", slot.error()}});
    return;
  }
  area.slot = *slot;
  if (dma_ == nullptr || area.peer.has_value()) return;
  DmaRun run;
  run.iova = base + area.area.offset;
  run.size = area.area.size;
  run.host = area.host;
  run.kind = DmaRun::Kind::kDevice;
  Status status = dma_->Map({run});
  if (status.ok()) {
    area.peer = run.iova;
  } else {
    LOG(kInfo, "vfio_no_peer_access", {{"device", device_.address()}, {"bar", region_}, {"error", status}});
  }
}

uint64_t BarMapping::mapped_bytes() const {
  uint64_t sum = 0;
  for (const Area& area : areas_) sum += area.slot.has_value() ? area.area.size : 0;
  return sum;
}

uint64_t BarMapping::peer_bytes() const {
  uint64_t sum = 0;
  for (const Area& area : areas_) sum += area.peer.has_value() ? area.area.size : 0;
  return sum;
}

}  // namespace berth::vmm
