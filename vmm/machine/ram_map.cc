#include "vmm/machine/ram_map.h"

#include <algorithm>
#include <bit>

#include "common/log.h"
#include "vmm/memory/zone_backing.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kSmallestChunk = uint64_t{128} << 20;
constexpr uint64_t kChunksMax = 256;  // of an area

uint64_t ChunkSize(const MemoryRegion& area) {
  return std::max({kSmallestChunk, area.plug->block(), std::bit_ceil(area.size / kChunksMax)});
}

// Takes back what was just announced.
void Forget(MemoryListener& listener, const MemoryRegion& part) {
  if (Status status = listener.OnRemoved(part.base, part.size); !status.ok()) {
    LOG(kError, "memory_not_withdrawn", {{"zone", part.zone}, {"error", status}});
  }
}

}  // namespace

Status RamMap::MapAll() {
  std::lock_guard lock(mutex_);
  for (const MemoryRegion& region : memory_.regions()) {
    const PrivateMemory::Place place = sides_ == nullptr ? PrivateMemory::Place() : sides_->Find(region.base);
    Result<uint32_t> slot =
        slots_.Add(region.base, region.size, region.host, /*readonly=*/false, place.file, place.offset);
    if (!slot.has_value()) return std::move(slot).error().WithContext("memory zone " + region.zone);
  }
  for (const MemoryRegion& area : memory_.hotplug_areas()) {
    for (const PlugMap::Run& run : area.plug->Runs()) {
      std::vector<Chunk> added;
      Status status = MapChunks(area, run.offset, run.length, added);
      if (!status.ok()) return std::move(status).WithContext("memory zone " + area.zone);
    }
  }
  return OkStatus();
}

Status RamMap::AddListener(MemoryListener& listener) {
  std::lock_guard lock(mutex_);
  std::vector<MemoryRegion> told;
  for (const MemoryRegion& run : memory_.PresentRuns()) {
    if (Status status = listener.OnAdded(run); !status.ok()) {
      for (const MemoryRegion& undo : told) Forget(listener, undo);
      return status;
    }
    told.push_back(run);
  }
  listeners_.push_back(&listener);
  return OkStatus();
}

void RamMap::RemoveListener(MemoryListener& listener) {
  std::lock_guard lock(mutex_);
  std::erase(listeners_, &listener);
}

Status RamMap::Still(const std::function<Status()>& work) {
  std::lock_guard lock(mutex_);
  return work();
}

Status RamMap::Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) {
  std::lock_guard lock(mutex_);
  const MemoryRegion part = area.Part(offset, length);
  if (sides_ != nullptr) return PlugSides(area, part, offset);
  std::vector<Chunk> added;
  Status status = PopulatePlugged(part);
  if (status.ok()) status = MapChunks(area, offset, length, added);
  if (status.ok()) status = Announce(part);
  if (!status.ok()) {
    UnmapChunks(added);
    static_cast<void>(DiscardPages(part));
    return status;
  }
  area.plug->Set(offset, length, true);
  return OkStatus();
}

Status RamMap::PlugSides(const MemoryRegion& area, const MemoryRegion& part, uint64_t offset) {
  std::vector<Chunk> added;
  TRY(MapChunks(area, offset, part.size, added));
  if (Status status = sides_->Plug(part.base, part.size); !status.ok()) {
    UnmapChunks(added);
    return status;
  }
  area.plug->Set(offset, part.size, true);
  return OkStatus();
}

// As long as a device can reach the pages they must stay what they are.
Status RamMap::Withdraw(const MemoryRegion& part) {
  if (sides_ != nullptr) return sides_->Unplug(part.base, part.size);
  for (size_t i = 0; i < listeners_.size(); ++i) {
    Status status = listeners_[i]->OnRemoved(part.base, part.size);
    if (status.ok()) continue;
    for (size_t undo = 0; undo < i; ++undo) {
      if (Status again = listeners_[undo]->OnAdded(part); !again.ok()) {
        LOG(kError, "memory_not_announced_again", {{"zone", part.zone}, {"error", again}});
      }
    }
    return status;
  }
  return OkStatus();
}

Status RamMap::Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) {
  std::lock_guard lock(mutex_);
  const MemoryRegion part = area.Part(offset, length);
  TRY(Withdraw(part));
  area.plug->Set(offset, length, false);
  const uint64_t size = ChunkSize(area);
  std::vector<Chunk> empty;
  for (uint64_t i = offset / size; i <= (offset + length - 1) / size; ++i) {
    if (!area.plug->Any(i * size, size)) empty.emplace_back(area.plug.get(), i);
  }
  UnmapChunks(empty);
  return sides_ == nullptr ? DiscardPages(part) : OkStatus();  // both sides are given back already
}

Status RamMap::MapChunks(const MemoryRegion& area, uint64_t offset, uint64_t length,
                         std::vector<Chunk>& added) {
  const uint64_t size = ChunkSize(area);
  for (uint64_t i = offset / size; i <= (offset + length - 1) / size; ++i) {
    const Chunk chunk{area.plug.get(), i};
    if (chunks_.contains(chunk)) continue;
    const uint64_t begin = i * size;
    const PrivateMemory::Place place =
        sides_ == nullptr ? PrivateMemory::Place() : sides_->Find(area.base + begin);
    Result<uint32_t> slot = slots_.Add(area.base + begin, std::min(size, area.size - begin),
                                       area.host + begin, /*readonly=*/false, place.file, place.offset);
    if (!slot.has_value()) {
      UnmapChunks(added);
      added.clear();
      return slot.error();
    }
    chunks_.emplace(chunk, *slot);
    added.push_back(chunk);
  }
  return OkStatus();
}

void RamMap::UnmapChunks(const std::vector<Chunk>& chunks) {
  for (const Chunk& chunk : chunks) {
    auto found = chunks_.find(chunk);
    if (found == chunks_.end()) continue;
    if (Status status = slots_.Remove(found->second); !status.ok()) {
      LOG(kError, "memory_slot_not_removed", {{"slot", found->second}, {"error", status}});
      continue;
    }
    chunks_.erase(found);
  }
}

Status RamMap::Announce(const MemoryRegion& part) {
  for (size_t i = 0; i < listeners_.size(); ++i) {
    Status status = listeners_[i]->OnAdded(part);
    if (status.ok()) continue;
    for (size_t undo = 0; undo < i; ++undo) Forget(*listeners_[undo], part);
    return status;
  }
  return OkStatus();
}

}  // namespace berth::vmm
