#include "vmm/viommu/vfio_endpoint.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/log.h"
#include "vmm/dma/guest_runs.h"

namespace berth::vmm {

Result<std::vector<DmaRun>> VfioEndpoint::RunsOf(const IommuMapping& mapping) const {
  std::vector<DmaRun> runs;
  TRY_ASSIGN(const auto spans, memory_.Spans(Gpa{mapping.gpa}, mapping.size()));
  if (!mapping.read && !mapping.write) return runs;
  uint64_t at = mapping.first;
  for (const std::span<uint8_t>& span : spans) {
    DmaRun run;
    run.iova = at;
    run.size = span.size();
    run.host = span.data();
    run.readable = mapping.read;
    run.writable = mapping.write;
    runs.push_back(run);
    at += span.size();
  }
  return runs;
}

Status VfioEndpoint::UnmapAll() {
  for (const DmaRun& run : dma_.Mapped()) TRY(dma_.Unmap(run.iova, run.size));
  return OkStatus();
}

// There is no way back from here: what the kernel does not unmap at once is tried again.
void VfioEndpoint::Cut() {
  reach_ = Reach::kNothing;
  Status status;
  for (int attempt = 0; attempt < 3; ++attempt) {
    status = OkStatus();
    for (const DmaRun& run : dma_.Mapped()) {
      if (Status unmapped = dma_.Unmap(run.iova, run.size); !unmapped.ok()) status = unmapped;
    }
    if (status.ok()) return;
  }
  LOG(kError, "iommu_endpoint_not_blocked", {{"error", status}});
}

Status VfioEndpoint::Replace(const std::vector<DmaRun>& runs, Reach reach) {
  const std::vector<DmaRun> before = dma_.Mapped();
  Status status = UnmapAll();
  for (size_t i = 0; i < runs.size() && status.ok(); ++i) status = dma_.Map({runs[i]});
  if (status.ok()) {
    reach_ = reach;
    return status;
  }
  const Reach known = reach_;
  Cut();
  for (const DmaRun& run : before) {
    if (Status back = dma_.Map({run}); !back.ok()) {
      LOG(kError, "iommu_endpoint_lost_its_mappings", {{"error", back}});
      Cut();
      return status;
    }
  }
  reach_ = known;
  return status;
}

Status VfioEndpoint::Enter(const IommuMappings& mappings) {
  std::lock_guard lock(mutex_);
  std::vector<DmaRun> runs;
  for (const IommuMapping& mapping : mappings.all()) {
    TRY_ASSIGN(const std::vector<DmaRun> more, RunsOf(mapping));
    runs.insert(runs.end(), more.begin(), more.end());
  }
  return Replace(runs, Reach::kMappings);
}

Status VfioEndpoint::Bypass() {
  std::lock_guard lock(mutex_);
  return Replace(RunsOfMemory(memory_), Reach::kMemory);
}

void VfioEndpoint::Block() {
  std::lock_guard lock(mutex_);
  Cut();
}

Status VfioEndpoint::Map(const IommuMapping& mapping) {
  std::lock_guard lock(mutex_);
  TRY_ASSIGN(const std::vector<DmaRun> runs, RunsOf(mapping));
  for (size_t i = 0; i < runs.size(); ++i) {
    Status status = dma_.Map({runs[i]});
    if (status.ok()) continue;
    for (size_t undo = 0; undo < i; ++undo) {
      if (Status undone = dma_.Unmap(runs[undo].iova, runs[undo].size); !undone.ok()) {
        Cut();
        return undone;
      }
    }
    return status;
  }
  return OkStatus();
}

Status VfioEndpoint::Unmap(const IommuMapping& mapping) {
  std::lock_guard lock(mutex_);
  return dma_.Unmap(mapping.first, mapping.size());
}

std::vector<IovaRange> VfioEndpoint::Reserved() const {
  Result<DmaLimits> limits = dma_.Limits();
  if (!limits.has_value()) {
    LOG(kWarning, "iommu_limits_unknown", {{"error", limits.error()}});
    return {};
  }
  std::vector<IovaRange> reserved;
  uint64_t next = 0;
  for (const IovaRange& range : limits->ranges) {
    if (range.first > next) reserved.push_back({next, range.first - 1});
    if (range.last == UINT64_MAX) return reserved;
    next = range.last + 1;
  }
  reserved.push_back({next, UINT64_MAX});
  return reserved;
}

Status VfioEndpoint::OnAdded(const MemoryRegion& run) {
  std::lock_guard lock(mutex_);
  return reach_ == Reach::kMemory ? MapPlugged(dma_, run) : OkStatus();
}

void VfioEndpoint::OnRemoved(Gpa base, uint64_t size) {
  std::lock_guard lock(mutex_);
  Status status;
  if (reach_ == Reach::kMemory) status = dma_.Unmap(Raw(base), size);
  for (const MemoryRegion& area : memory_.hotplug_areas()) {
    if (reach_ != Reach::kMappings || Raw(base) < Raw(area.base) || Raw(base) - Raw(area.base) >= area.size) {
      continue;
    }
    const uint8_t* host = area.host + (Raw(base) - Raw(area.base));
    for (const DmaRun& run : dma_.Mapped()) {
      if (run.host >= host + size || host >= run.host + run.size) continue;
      LOG(kWarning, "iommu_mapping_of_unplugged_memory", {{"iova", run.iova}, {"bytes", run.size}});
      if (Status unmapped = dma_.Unmap(run.iova, run.size); status.ok()) status = unmapped;
    }
  }
  if (status.ok()) return;
  LOG(kError, "iommu_memory_not_unmapped", {{"error", status}});
  Cut();
}

}  // namespace berth::vmm
