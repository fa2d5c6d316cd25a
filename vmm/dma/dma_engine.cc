#include "vmm/dma/dma_engine.h"

#include <algorithm>
#include <utility>

#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

DmaRun Part(const DmaRun& run, uint64_t from, uint64_t to) {
  DmaRun part = run;
  part.iova = from;
  part.host = run.host + (from - run.iova);
  part.size = to - from;
  return part;
}

std::string RangesText(const std::vector<IovaRange>& ranges) {
  std::string text;
  for (const IovaRange& range : ranges) {
    text += (text.empty() ? "" : ", ") + RangeText(range.first, range.last - range.first + 1);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

Result<DmaLimits> DmaEngine::Limits() {
  std::lock_guard lock(mutex_);
  TRY_ASSIGN(limits_, backend_->Limits());
  return *limits_;
}

Status DmaEngine::KnowLimits() {
  if (!limits_.has_value()) {
    TRY_ASSIGN(limits_, backend_->Limits());
  }
  return OkStatus();
}

std::vector<DmaRun> DmaEngine::Plan(std::vector<DmaRun> runs, bool can_cut) const {
  std::vector<DmaRun> plan;
  for (const DmaRun& run : JoinRuns(std::move(runs))) {
    if (can_cut) {
      plan.push_back(run);
      continue;
    }
    for (const DmaRun& piece : CutAtGranules(run)) plan.push_back(piece);
  }
  return plan;
}

Status DmaEngine::CheckAgainst(const DmaLimits& limits, const std::vector<DmaRun>& mappings) const {
  for (const DmaRun& run : mappings) {
    const std::string what = "DMA run " + RangeText(run.iova, run.size);
    if (run.size == 0 || run.iova > UINT64_MAX - run.size)
      return InvalidArgument(what + " is empty or wraps");
    const uint64_t page = limits.page_size;
    if (run.iova % page != 0 || run.size % page != 0 || reinterpret_cast<uintptr_t>(run.host) % page != 0) {
      return InvalidArgument(what + " is no multiple of the IOMMU's page size " + std::to_string(page));
    }
    const bool allowed = std::any_of(
        limits.ranges.begin(), limits.ranges.end(),
        [&run](const IovaRange& range) { return run.iova >= range.first && run.end() - 1 <= range.last; });
    if (!allowed) {
      return OutOfRange(what + " is outside of what the host's IOMMU can map: " + RangesText(limits.ranges));
    }
  }
  // The plan is sorted: overlaps are found before anything happens.
  for (size_t i = 0; i < mappings.size(); ++i) {
    const DmaRun& run = mappings[i];
    std::vector<DmaRun> others = table_.Overlapping(run.iova, run.size);
    if (i > 0 && mappings[i - 1].end() > run.iova) others.push_back(mappings[i - 1]);
    if (!others.empty()) {
      return AlreadyExists("DMA run " + RangeText(run.iova, run.size) + " overlaps " +
                           RangeText(others[0].iova, others[0].size));
    }
  }
  return OkStatus();
}

Status DmaEngine::Check(const std::vector<DmaRun>& runs) {
  std::lock_guard lock(mutex_);
  TRY_ASSIGN(limits_, backend_->Limits());
  const std::vector<DmaRun> plan = Plan(runs, limits_->can_cut);
  TRY(CheckAgainst(*limits_, plan));
  if (plan.size() > limits_->entries_left) {
    const uint64_t needed = table_.count() + plan.size();
    return ResourceExhausted("needs " + std::to_string(plan.size()) + " DMA mappings, " +
                                 std::to_string(limits_->entries_left) + " are left",
                             {},
                             "raise vfio_iommu_type1.dma_entry_limit to at least " + std::to_string(needed));
  }
  return OkStatus();
}

Status DmaEngine::MapOne(const DmaRun& run) {
  TRY(table_.Insert(run));
  Status status = backend_->Map(run);
  if (status.ok()) {
    ++counters_.maps;
  } else {
    table_.Cut(run.iova, run.size);
    ++counters_.failures;
  }
  return status;
}

// All of `within`, or with can_cut a part of it.
Status DmaEngine::UnmapRange(const DmaRun& within, uint64_t iova, uint64_t size) {
  CHECK(iova >= within.iova && iova + size <= within.end());
  Status status = backend_->Unmap(iova, size);
  if (status.ok()) {
    table_.Cut(iova, size);
    ++counters_.unmaps;
  } else {
    ++counters_.failures;
  }
  return status;
}

// Maps again what a change that failed has unmapped.
Status DmaEngine::Restore(const std::vector<DmaRun>& runs, const Status& reason) {
  std::string lost;
  for (const DmaRun& run : runs) {
    Status status = MapOne(run);
    if (!status.ok()) lost += " " + RangeText(run.iova, run.size) + " (" + status.message() + ")";
  }
  if (lost.empty()) return reason;
  return DataLoss("devices have lost access to" + lost + " after: " + reason.message());
}

void DmaEngine::Expect(std::span<const DmaRun> memory) {
  std::lock_guard lock(mutex_);
  backend_->Expect(memory);
}

Status DmaEngine::Map(std::vector<DmaRun> runs) {
  std::lock_guard lock(mutex_);
  TRY(KnowLimits());
  const std::vector<DmaRun> plan = Plan(std::move(runs), limits_->can_cut);
  TRY(CheckAgainst(*limits_, plan));
  for (size_t done = 0; done < plan.size(); ++done) {
    Status status = MapOne(plan[done]);
    if (status.ok()) continue;
    for (size_t i = done; i-- > 0;) {
      if (Status undone = UnmapRange(plan[i], plan[i].iova, plan[i].size); !undone.ok()) {
        return DataLoss("DMA run " + RangeText(plan[i].iova, plan[i].size) + " stays mapped (" +
                        undone.message() + ") after: " + status.message());
      }
    }
    return status;
  }
  return OkStatus();
}

Status DmaEngine::Unmap(uint64_t iova, uint64_t size, PartialUnmap partial) {
  if (size == 0) return OkStatus();
  if (iova > UINT64_MAX - size) return InvalidArgument("DMA range " + RangeText(iova, size) + " wraps");
  std::lock_guard lock(mutex_);
  TRY(KnowLimits());
  const DmaLimits& limits = *limits_;
  const uint64_t end = iova + size;
  const std::vector<DmaRun> runs = table_.Overlapping(iova, size);
  const bool whole = std::all_of(runs.begin(), runs.end(),
                                 [&](const DmaRun& run) { return run.iova >= iova && run.end() <= end; });
  if (!whole && (iova % limits.page_size != 0 || end % limits.page_size != 0)) {
    return InvalidArgument("DMA range " + RangeText(iova, size) +
                           " is no multiple of the IOMMU's page size " + std::to_string(limits.page_size));
  }
  if (!whole && !limits.can_cut && partial == PartialUnmap::kRefuse) {
    return FailedPrecondition("DMA range " + RangeText(iova, size) + " cuts a mapping, which " +
                              std::string(backend_->name()) + " cannot do while devices use it");
  }
  std::vector<DmaRun> removed;
  for (const DmaRun& run : runs) {
    const uint64_t from = std::max(run.iova, iova);
    const uint64_t to = std::min(run.end(), end);
    const bool cuts = from != run.iova || to != run.end();
    const DmaRun gone = cuts && limits.can_cut ? Part(run, from, to) : run;
    if (Status status = UnmapRange(run, gone.iova, gone.size); !status.ok()) return Restore(removed, status);
    if (!cuts || limits.can_cut) {
      removed.push_back(gone);
      continue;
    }
    for (const auto& [begin, stop] : {std::pair{run.iova, from}, std::pair{to, run.end()}}) {
      if (begin == stop) continue;
      if (Status status = MapOne(Part(run, begin, stop)); !status.ok()) {
        // The other rest may be there already: only what is missing comes back.
        removed.push_back(Part(run, begin == run.iova ? begin : from, begin == run.iova ? run.end() : stop));
        return Restore(removed, status);
      }
    }
    removed.push_back(Part(run, from, to));
  }
  return OkStatus();
}

std::vector<DmaRun> DmaEngine::Mapped() const {
  std::lock_guard lock(mutex_);
  return table_.runs();
}

std::vector<DmaRun> DmaEngine::MappedIn(uint64_t iova, uint64_t size) const {
  std::lock_guard lock(mutex_);
  return table_.Overlapping(iova, size);
}

uint64_t DmaEngine::mapped_bytes() const {
  std::lock_guard lock(mutex_);
  return table_.bytes();
}

std::optional<DmaRun> DmaEngine::Find(uint64_t iova) const {
  std::lock_guard lock(mutex_);
  return table_.Find(iova);
}

std::optional<DmaRun> DmaEngine::FindFrom(uint64_t iova) const {
  std::lock_guard lock(mutex_);
  return table_.FindFrom(iova);
}

DmaCounters DmaEngine::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace berth::vmm
