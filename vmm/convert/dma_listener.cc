#include "vmm/convert/dma_listener.h"

#include <algorithm>
#include <utility>

#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

uint64_t Granule(DmaStrategy strategy) {
  switch (strategy) {
    case DmaStrategy::kExact:
    case DmaStrategy::kCut:
      return 0;
    case DmaStrategy::kChunks:
      return kStateChunk;
    case DmaStrategy::kPages:
      return kStatePage;
  }
  return 0;
}

}  // namespace

DmaListener::DmaListener(DmaEngine& engine, std::vector<HostRange> ranges, Options options)
    : engine_(engine), ranges_(std::move(ranges)), options_(std::move(options)) {}

DmaRun DmaListener::RunOf(const StateRun& run) const {
  auto range = std::upper_bound(ranges_.begin(), ranges_.end(), run.base,
                                [](uint64_t gpa, const HostRange& r) { return gpa < r.base + r.size; });
  CHECK(range != ranges_.end() && run.base >= range->base && run.end() <= range->base + range->size);
  DmaRun dma;
  dma.iova = run.base;
  dma.size = run.size;
  dma.host = range->host + (run.base - range->base);
  dma.granule = Granule(options_.strategy);
  return dma;
}

Status DmaListener::OnShared(std::span<const StateRun> runs) {
  std::vector<DmaRun> dma;
  dma.reserve(runs.size());
  for (const StateRun& run : runs) dma.push_back(RunOf(run));
  std::lock_guard lock(mutex_);
  return engine_.Map(std::move(dma));
}

Status DmaListener::MapAsBefore(const std::vector<DmaRun>& runs, const Status& reason) {
  for (const DmaRun& run : runs) {
    if (Status status = engine_.Map({run}); !status.ok()) {
      return DataLoss("devices have lost shared memory " + RangeText(run.iova, run.size) + " (" +
                      status.message() + ") after: " + reason.message());
    }
  }
  return reason;
}

Status DmaListener::OnPrivate(std::span<const StateRun> runs) {
  std::lock_guard lock(mutex_);
  const bool faults_allowed = options_.strategy == DmaStrategy::kChunks && options_.allow_transient_faults;
  const DmaGate::Stillness still = faults_allowed ? nullptr : HoldStill();
  const PartialUnmap partial =
      faults_allowed || still != nullptr ? PartialUnmap::kRemapRest : PartialUnmap::kRefuse;
  std::vector<DmaRun> unmapped;
  for (const StateRun& run : runs) {
    const std::vector<DmaRun> before = engine_.MappedIn(run.base, run.size);
    Status status = engine_.Unmap(run.base, run.size, partial);
    if (!status.ok()) {
      if (status.code() == StatusCode::kFailedPrecondition) ++counters_.refused;
      return MapAsBefore(unmapped, status);
    }
    // A mapping that was cut still has its rest.
    for (DmaRun mapping : before) {
      const uint64_t from = std::max(mapping.iova, run.base);
      const uint64_t to = std::min(mapping.end(), run.end());
      mapping.host += from - mapping.iova;
      mapping.iova = from;
      mapping.size = to - from;
      unmapped.push_back(mapping);
    }
  }
  return OkStatus();
}

Result<uint64_t> DmaListener::Compact() {
  std::lock_guard lock(mutex_);
  const bool can_take_apart =
      options_.strategy == DmaStrategy::kCut || options_.strategy == DmaStrategy::kChunks;
  const DmaGate::Stillness still = can_take_apart ? HoldStill() : nullptr;
  if (still == nullptr) return uint64_t{0};
  const std::vector<DmaRun> mapped = engine_.Mapped();
  uint64_t saved = 0;
  for (size_t first = 0, next; first < mapped.size(); first = next) {
    // The mappings that would become one: JoinRuns knows which, and pieces of granules stay apart.
    std::vector<DmaRun> group = {mapped[first]};
    for (next = first + 1; next < mapped.size(); ++next) {
      std::vector<DmaRun> longer = group;
      longer.push_back(mapped[next]);
      const std::vector<DmaRun> joined = JoinRuns(longer);
      if (joined.size() > 1 || CutAtGranules(joined[0]).size() > 1) break;
      group = joined;
    }
    const size_t count = next - first;
    if (count == 1) continue;
    const std::vector<DmaRun> pieces(mapped.begin() + static_cast<ptrdiff_t>(first),
                                     mapped.begin() + static_cast<ptrdiff_t>(next));
    TRY(engine_.Unmap(group[0].iova, group[0].size));
    if (Status status = engine_.Map(group); !status.ok()) return MapAsBefore(pieces, status);
    saved += count - 1;
  }
  if (saved > 0) ++counters_.compactions;
  counters_.joined += saved;
  return saved;
}

DmaListener::Counters DmaListener::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace berth::vmm
