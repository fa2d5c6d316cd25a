#include "vmm/convert/transaction.h"

#include <bit>
#include <string>
#include <thread>

#include "common/log.h"
#include "vmm/dma/dma_text.h"

namespace berth::vmm {

Status Converter::Transaction::Do(ConversionStep step, const std::function<Status()>& action) {
  const auto start = std::chrono::steady_clock::now();
  Status status = action();
  c_.times_[static_cast<size_t>(step)].Add(std::chrono::steady_clock::now() - start);
  if (status.ok()) return status;
  ++c_.counters_.failures[static_cast<size_t>(step)];
  return UndoAll(std::move(status).WithContext(ConversionStepName(step)));
}

void Converter::Transaction::Try(ConversionStep step, const std::function<Status()>& action) {
  const auto start = std::chrono::steady_clock::now();
  const Status status = action();
  c_.times_[static_cast<size_t>(step)].Add(std::chrono::steady_clock::now() - start);
  if (status.ok()) return;
  // Told at the first, second, fourth... time: the guest decides how often it converts.
  const uint64_t failures = ++c_.counters_.failures[static_cast<size_t>(step)];
  if (!std::has_single_bit(failures)) return;
  LOG(kWarning, "conversion_steps_failed",
      {{"count", failures}, {"step", ConversionStepName(step)}, {"reason", status}});
}

Status Converter::Transaction::UndoAll(Status reason) {
  ++c_.counters_.undone;
  Status lost;
  while (!undo_.empty()) {
    Status undone = undo_.back()();
    undo_.pop_back();
    // The rest is undone all the same: less is wrong then.
    if (!undone.ok() && lost.ok()) lost = std::move(undone);
  }
  if (lost.ok()) return reason;
  return DataLoss("memory conversion could not be undone (" + lost.message() +
                  ") after: " + reason.message());
}

Status Converter::Transaction::Populate(const std::vector<StateRun>& ranges, PageState side) {
  if (c_.options_.model == MemoryModel::kInPlace) return OkStatus();
  // Only devices need shared memory beforehand: others get it page by page when they touch it.
  if (side == PageState::kShared && c_.listeners_.empty()) return OkStatus();
  for (const StateRun& range : ranges) {
    ++c_.counters_.populate_calls;
    TRY(side == PageState::kShared ? c_.planes_.PopulateShared(range.base, range.size)
                                   : c_.planes_.PopulatePrivate(range.base, range.size));
  }
  return OkStatus();
}

Status Converter::Transaction::Discard(const std::vector<StateRun>& ranges, PageState side) {
  if (c_.options_.model == MemoryModel::kInPlace) return OkStatus();
  Status first;
  for (const StateRun& range : ranges) {
    ++c_.counters_.discard_calls;
    Status status = side == PageState::kShared ? c_.planes_.DiscardShared(range.base, range.size)
                                               : c_.planes_.DiscardPrivate(range.base, range.size);
    if (status.ok()) continue;
    c_.counters_.leaked_bytes += range.size;
    if (first.ok()) first = std::move(status).WithContext(RangeText(range.base, range.size));
  }
  return first;
}

Status Converter::Transaction::SetAttributes(const StateRun& range, bool is_private) {
  for (int attempt = 1;; ++attempt) {
    ++c_.counters_.attribute_calls;
    Status status = c_.attributes_.SetPrivate(range.base, range.size, is_private);
    if (status.code() != StatusCode::kUnavailable || attempt >= c_.options_.attribute_tries) return status;
    std::this_thread::sleep_for(c_.options_.retry_after * attempt);
  }
}

Status Converter::Transaction::TellShared(const std::vector<StateRun>& runs) {
  for (size_t i = 0; i < c_.listeners_.size(); ++i) {
    Status status = c_.listeners_[i]->OnShared(runs);
    if (status.ok()) continue;
    while (i-- > 0) {
      if (Status undone = c_.listeners_[i]->OnPrivate(runs); !undone.ok()) {
        return DataLoss("a device keeps memory that is private (" + undone.message() +
                        ") after: " + status.message());
      }
    }
    return status;
  }
  return OkStatus();
}

Status Converter::Transaction::TellPrivate(const std::vector<StateRun>& runs) {
  for (size_t i = 0; i < c_.listeners_.size(); ++i) {
    Status status = c_.listeners_[i]->OnPrivate(runs);
    if (status.ok()) continue;
    while (i-- > 0) {
      if (Status undone = c_.listeners_[i]->OnShared(runs); !undone.ok()) {
        return DataLoss("a device has lost shared memory (" + undone.message() +
                        ") after: " + status.message());
      }
    }
    return status;
  }
  return OkStatus();
}

void Converter::Transaction::Mark(const std::vector<StateRun>& runs, PageState from, PageState to) {
  c_.pages_.Change([&](PageStateMap& states) {
    for (const StateRun& run : runs) states.Replace(run.base, run.size, from, to);
  });
}

std::vector<StateRun> Converter::Transaction::Discardable(const std::vector<StateRun>& runs) const {
  if (c_.lock_granule_ <= kStatePage) return runs;
  return c_.pages_.Read([&](const PageStateMap& states) {
    std::vector<StateRun> ranges;
    for (size_t first = 0; first < runs.size();) {
      const StateRegion* region = states.RegionAt(runs[first].base);
      size_t last = first + 1;
      while (last < runs.size() && states.RegionAt(runs[last].base) == region) ++last;
      const std::vector<StateRun> part(runs.begin() + static_cast<ptrdiff_t>(first),
                                       runs.begin() + static_cast<ptrdiff_t>(last));
      const std::vector<StateRun> found =
          DiscardableRanges(states, part, PageState::kShared, c_.SharedPageSize(part[0].base));
      ranges.insert(ranges.end(), found.begin(), found.end());
      first = last;
    }
    return ranges;
  });
}

}  // namespace berth::vmm
