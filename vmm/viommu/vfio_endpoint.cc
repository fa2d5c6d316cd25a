#include "vmm/viommu/vfio_endpoint.h"

#include <span>

#include "common/log.h"

namespace berth::vmm {

Result<std::vector<DmaRun>> VfioEndpoint::RunsOf(const IommuMapping& mapping) const {
  std::vector<DmaRun> runs;
  TRY_ASSIGN(const auto spans, memory_.Spans(Gpa{mapping.gpa}, mapping.size()));
  uint64_t at = mapping.first;
  for (const std::span<uint8_t>& span : spans) {
    DmaRun run;
    run.iova = at;
    run.size = span.size();
    run.host = span.data();
    run.writable = mapping.write;
    runs.push_back(run);
    at += span.size();
  }
  return runs;
}

std::vector<DmaRun> VfioEndpoint::MemoryRuns() const {
  std::vector<DmaRun> runs;
  for (const MemoryRegion& region : memory_.PresentRuns()) {
    DmaRun run;
    run.iova = Raw(region.base);
    run.size = region.size;
    run.host = region.host;
    runs.push_back(run);
  }
  return runs;
}

Status VfioEndpoint::Replace(const std::vector<DmaRun>& runs) {
  for (const DmaRun& run : dma_.Mapped()) TRY(dma_.Unmap(run.iova, run.size));
  return runs.empty() ? OkStatus() : dma_.Map(runs);
}

Status VfioEndpoint::Enter(const IommuMappings& mappings) {
  const std::vector<DmaRun> before = dma_.Mapped();
  std::vector<DmaRun> runs;
  for (const IommuMapping& mapping : mappings.all()) {
    TRY_ASSIGN(const std::vector<DmaRun> more, RunsOf(mapping));
    // One run a mapping: what the guest maps as one it unmaps as one, never more at a time.
    runs.insert(runs.end(), more.begin(), more.end());
  }
  for (const DmaRun& run : before) TRY(dma_.Unmap(run.iova, run.size));
  for (const DmaRun& run : runs) {
    Status status = dma_.Map({run});
    if (status.ok()) continue;
    if (Status back = Replace(before); !back.ok()) Block();
    return status;
  }
  return OkStatus();
}

Status VfioEndpoint::Bypass() {
  return Replace(MemoryRuns());
}

// There is no way back from here: what the kernel does not unmap at once is tried again.
void VfioEndpoint::Block() {
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

Status VfioEndpoint::Map(const IommuMapping& mapping) {
  TRY_ASSIGN(const std::vector<DmaRun> runs, RunsOf(mapping));
  for (size_t i = 0; i < runs.size(); ++i) {
    Status status = dma_.Map({runs[i]});
    if (status.ok()) continue;
    for (size_t undo = 0; undo < i; ++undo) {
      if (Status undone = dma_.Unmap(runs[undo].iova, runs[undo].size); !undone.ok()) {
        Block();
        return undone;
      }
    }
    return status;
  }
  return OkStatus();
}

Status VfioEndpoint::Unmap(const IommuMapping& mapping) {
  return dma_.Unmap(mapping.first, mapping.size());
}

}  // namespace berth::vmm
