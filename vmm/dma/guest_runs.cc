#include "vmm/dma/guest_runs.h"

#include <algorithm>
#include <optional>

namespace berth::vmm {
namespace {

DmaRun RunOf(const MemoryRegion& region, uint64_t granule) {
  DmaRun run;
  run.iova = Raw(region.base);
  run.size = region.size;
  run.host = region.host;
  run.granule = granule;
  return run;
}

// Plugged memory goes away again in pieces: no mapping is longer than one.
uint64_t PluggedGranule(const MemoryRegion& run) {
  constexpr uint64_t kSmallest = uint64_t{2} << 20;
  return std::max(run.page_size, kSmallest);
}

// RAM that stays is mapped as a whole.
uint64_t Granule(const GuestMemory& memory, const MemoryRegion& run) {
  const bool plugged = std::any_of(
      memory.hotplug_areas().begin(), memory.hotplug_areas().end(), [&run](const MemoryRegion& area) {
        return Raw(run.base) >= Raw(area.base) && Raw(run.base) - Raw(area.base) < area.size;
      });
  return plugged ? PluggedGranule(run) : 0;
}

}  // namespace

std::vector<DmaRun> RunsOfMemory(const GuestMemory& memory) {
  std::vector<DmaRun> runs;
  for (const MemoryRegion& run : memory.PresentRuns()) runs.push_back(RunOf(run, Granule(memory, run)));
  return runs;
}

Status MapPlugged(DmaEngine& dma, const MemoryRegion& run) {
  const uint64_t end = Raw(run.base) + run.size;
  std::vector<DmaRun> missing;
  for (uint64_t at = Raw(run.base); at < end;) {
    const std::optional<DmaRun> known = dma.FindFrom(at);
    const uint64_t stop = known.has_value() ? std::clamp(known->iova, at, end) : end;
    if (stop > at) {
      missing.push_back(RunOf(run.Part(at - Raw(run.base), stop - at), PluggedGranule(run)));
    }
    at = known.has_value() && known->iova < end ? std::max(known->end(), stop) : end;
  }
  return missing.empty() ? OkStatus() : dma.Map(missing);
}

}  // namespace berth::vmm
