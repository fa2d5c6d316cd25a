#include "vmm/dma/run_table.h"

#include <algorithm>
#include <iterator>

#include "vmm/dma/dma_text.h"

namespace berth::vmm {

std::vector<DmaRun> JoinRuns(std::vector<DmaRun> runs) {
  std::sort(runs.begin(), runs.end(), [](const DmaRun& a, const DmaRun& b) { return a.iova < b.iova; });
  std::vector<DmaRun> joined;
  for (const DmaRun& run : runs) {
    if (!joined.empty()) {
      DmaRun& last = joined.back();
      const bool continues = last.end() == run.iova && last.host + last.size == run.host;
      if (continues && last.readable == run.readable && last.writable == run.writable &&
          last.kind == run.kind && last.granule == run.granule) {
        last.size += run.size;
        continue;
      }
    }
    joined.push_back(run);
  }
  return joined;
}

std::vector<DmaRun> CutAtGranules(const DmaRun& run) {
  if (run.granule == 0) return {run};
  std::vector<DmaRun> pieces;
  for (uint64_t done = 0; done < run.size;) {
    const uint64_t to_border = run.granule - (run.iova + done) % run.granule;
    DmaRun piece = run;
    piece.iova = run.iova + done;
    piece.host = run.host + done;
    piece.size = std::min(to_border, run.size - done);
    pieces.push_back(piece);
    done += piece.size;
  }
  return pieces;
}

Status RunTable::Insert(const DmaRun& run) {
  if (run.size == 0 || run.iova > UINT64_MAX - run.size) {
    return InvalidArgument("DMA run " + RangeText(run.iova, run.size) + " is empty or wraps");
  }
  auto next = FirstBehind(run.iova);
  if (next != runs_.end() && next->first < run.end()) {
    return AlreadyExists("DMA run " + RangeText(run.iova, run.size) + " overlaps " +
                         RangeText(next->second.iova, next->second.size));
  }
  runs_.emplace_hint(next, run.iova, run);
  bytes_ += run.size;
  return OkStatus();
}

void RunTable::Cut(uint64_t iova, uint64_t size) {
  const uint64_t end = iova + size;
  for (const DmaRun& run : Overlapping(iova, size)) {
    runs_.erase(run.iova);
    bytes_ -= run.size;
    if (run.iova < iova) {
      DmaRun left = run;
      left.size = iova - run.iova;
      CHECK(Insert(left).ok());
    }
    if (run.end() > end) {
      DmaRun right = run;
      right.iova = end;
      right.host += end - run.iova;
      right.size = run.end() - end;
      CHECK(Insert(right).ok());
    }
  }
}

RunTable::Runs::const_iterator RunTable::FirstBehind(uint64_t iova) const {
  auto it = runs_.upper_bound(iova);
  if (it != runs_.begin() && std::prev(it)->second.end() > iova) --it;
  return it;
}

std::vector<DmaRun> RunTable::Overlapping(uint64_t iova, uint64_t size) const {
  std::vector<DmaRun> found;
  if (size == 0) return found;
  const uint64_t last = size - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (size - 1);
  for (auto it = FirstBehind(iova); it != runs_.end() && it->first <= last; ++it) {
    found.push_back(it->second);
  }
  return found;
}

std::optional<DmaRun> RunTable::Find(uint64_t iova) const {
  auto it = FirstBehind(iova);
  if (it == runs_.end() || it->first > iova) return std::nullopt;
  return it->second;
}

std::optional<DmaRun> RunTable::FindFrom(uint64_t iova) const {
  auto it = FirstBehind(iova);
  return it == runs_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<DmaRun> RunTable::runs() const {
  std::vector<DmaRun> all;
  all.reserve(runs_.size());
  for (const auto& [iova, run] : runs_) all.push_back(run);
  return all;
}

}  // namespace berth::vmm
