#include "vmm/convert/converter.h"

#include <algorithm>
#include <string>
#include <utility>

#include "vmm/convert/transaction.h"
#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

uint64_t Largest(const std::vector<uint64_t>& page_sizes) {
  uint64_t largest = kStatePage;
  for (uint64_t size : page_sizes) {
    CHECK(size >= kStatePage && (size & (size - 1)) == 0);
    largest = std::max(largest, size);
  }
  return largest;
}

// The runs that lie in the range.
std::vector<StateRun> Inside(const std::vector<StateRun>& runs, const StateRun& range) {
  std::vector<StateRun> inside;
  for (const StateRun& run : runs) {
    if (run.base >= range.base && run.end() <= range.end()) inside.push_back(run);
  }
  return inside;
}

}  // namespace

Converter::Converter(GuestPages& pages, PageAttributes& attributes, MemoryPlanes& planes,
                     std::vector<SharedMemoryListener*> listeners, Options options)
    : pages_(pages),
      attributes_(attributes),
      planes_(planes),
      listeners_(std::move(listeners)),
      options_(std::move(options)),
      lock_granule_(Largest(options_.shared_page_sizes)) {
  CHECK(options_.shared_page_sizes.empty() || options_.shared_page_sizes.size() == pages_.regions().size());
}

uint64_t Converter::SharedPageSize(uint64_t gpa) const {
  const auto& regions = pages_.regions();
  for (size_t i = 0; i < options_.shared_page_sizes.size(); ++i) {
    if (gpa >= regions[i].base && gpa < regions[i].end()) return options_.shared_page_sizes[i];
  }
  return kStatePage;
}

// Whole pages of the shared side, for whose memory a conversion of any part of them decides.
RangeLocks::Hold Converter::LockRange(uint64_t base, uint64_t size) {
  uint64_t first = base;
  uint64_t last = base + (size - 1);
  if (lock_granule_ == kStatePage) return locks_.Lock(base, size);
  // Pages of the backing are counted from a region's start.
  for (const StateRegion& region : pages_.regions()) {
    if (region.base > last || region.end() <= base) continue;
    const uint64_t page = SharedPageSize(region.base);
    const uint64_t from = std::max(base, region.base) - region.base;
    const uint64_t to = std::min(last, region.end() - 1) - region.base;
    first = std::min(first, region.base + from / page * page);
    last = std::max(last, std::min(region.base + (to / page * page) + (page - 1), region.end() - 1));
  }
  return locks_.Lock(first, last - first + 1);
}

Status Converter::Start() {
  std::vector<StateRun> shared;
  std::vector<StateRun> others;
  pages_.Read([&](const PageStateMap& states) {
    for (const StateRegion& region : states.regions()) {
      states.ForEach(region.base, region.size, [&](const StateRun& run) {
        (run.state == PageState::kShared ? shared : others).push_back(run);
      });
    }
  });
  Transaction change(*this);
  for (const StateRun& run : others) {
    TRY(change.Do(ConversionStep::kAttributes, [&] { return change.SetAttributes(run, true); }));
  }
  TRY(change.Do(ConversionStep::kReserve, [&] { return change.Populate(shared, PageState::kShared); }));
  return change.Do(ConversionStep::kDma, [&] { return change.TellShared(shared); });
}

Status Converter::AddListener(SharedMemoryListener& listener) {
  const RangeLocks::Hold everything = locks_.Lock(0, UINT64_MAX);
  if (std::find(listeners_.begin(), listeners_.end(), &listener) != listeners_.end()) return OkStatus();
  const std::vector<StateRun> shared = pages_.Read([](const PageStateMap& states) {
    std::vector<StateRun> runs;
    for (const StateRegion& region : states.regions()) {
      const std::vector<StateRun> found = states.RunsIn(PageState::kShared, region.base, region.size);
      runs.insert(runs.end(), found.begin(), found.end());
    }
    return runs;
  });
  listeners_.push_back(&listener);
  Transaction change(*this);
  change.OnUndo([&] {
    listeners_.pop_back();
    return OkStatus();
  });
  TRY(change.Do(ConversionStep::kReserve, [&] { return change.Populate(shared, PageState::kShared); }));
  return change.Do(ConversionStep::kDma, [&] { return listener.OnShared(shared); });
}

void Converter::RemoveListener(SharedMemoryListener& listener) {
  const RangeLocks::Hold everything = locks_.Lock(0, UINT64_MAX);
  std::erase(listeners_, &listener);
}

Result<uint64_t> Converter::Convert(uint64_t base, uint64_t size, Direction direction) {
  if (size == 0 || base > UINT64_MAX - size) {
    ++counters_.failures[static_cast<size_t>(ConversionStep::kPlan)];
    return InvalidArgument("range at " + RangeText(base, 1) + " is empty or wraps");
  }
  const RangeLocks::Hold hold = LockRange(base, size);
  Transaction change(*this);
  ConversionPlan plan;
  TRY(change.Do(ConversionStep::kPlan, [&]() -> Status {
    TRY_ASSIGN(plan, pages_.Read([&](const PageStateMap& states) {
      return PlanConversion(states, base, size, direction);
    }));
    return OkStatus();
  }));
  if (plan.empty()) {
    ++counters_.nothing_to_do;
    return uint64_t{0};
  }
  TRY(direction == Direction::kToPrivate ? ToPrivate(change, plan) : ToShared(change, plan));
  const auto d = static_cast<size_t>(direction);
  ++counters_.conversions[d];
  counters_.bytes[d] += plan.bytes;
  counters_.runs[d] += plan.changes.size();
  return plan.bytes;
}

Status Converter::ToPrivate(Transaction& change, const ConversionPlan& plan) {
  change.OnUndo([&] { return change.Discard(plan.changes, PageState::kPrivate); });
  TRY(change.Do(ConversionStep::kReserve,
                [&] { return change.Populate(plan.changes, PageState::kPrivate); }));
  TRY(Withdraw(change, plan.changes, plan.hulls));
  change.Try(ConversionStep::kDiscard,
             [&] { return change.Discard(change.Discardable(plan.changes), PageState::kShared); });
  return change.Do(ConversionStep::kCommit, [&] {
    change.Mark(plan.changes, PageState::kConverting, PageState::kPrivate);
    return OkStatus();
  });
}

// Takes shared pages out of the use of everybody but the guest, and gives them to it alone: they are
// converting afterwards.
Status Converter::Withdraw(Transaction& change, const std::vector<StateRun>& runs,
                           const std::vector<StateRun>& hulls) {
  change.OnUndo([&] {
    change.Mark(runs, PageState::kConverting, PageState::kShared);
    return OkStatus();
  });
  TRY(change.Do(ConversionStep::kBlock, [&]() -> Status {
    if (pages_.Block(runs, options_.drain_timeout)) return OkStatus();
    return Unavailable("devices still use guest memory after " +
                       std::to_string(options_.drain_timeout.count()) + " ms");
  }));
  TRY(change.Do(ConversionStep::kDma, [&] { return change.TellPrivate(runs); }));
  change.OnUndo([&] { return change.TellShared(runs); });
  for (const StateRun& hull : hulls) {
    TRY(change.Do(ConversionStep::kAttributes, [&] { return change.SetAttributes(hull, true); }));
    change.OnUndo([&]() -> Status {
      for (const StateRun& run : Inside(runs, hull)) TRY(change.SetAttributes(run, false));
      return OkStatus();
    });
  }
  return OkStatus();
}

Status Converter::ToShared(Transaction& change, const ConversionPlan& plan) {
  // The pages are private again by then, so that this is what the conversion has added.
  change.OnUndo([&] { return change.Discard(change.Discardable(plan.changes), PageState::kShared); });
  TRY(change.Do(ConversionStep::kReserve, [&] { return change.Populate(plan.changes, PageState::kShared); }));
  change.OnUndo([&] {
    change.Mark(plan.changes, PageState::kConverting, PageState::kPrivate);
    return OkStatus();
  });
  TRY(change.Do(ConversionStep::kBlock, [&] {
    change.Mark(plan.changes, PageState::kPrivate, PageState::kConverting);
    return OkStatus();
  }));
  for (const StateRun& hull : plan.hulls) {
    TRY(change.Do(ConversionStep::kAttributes, [&] { return change.SetAttributes(hull, false); }));
    change.OnUndo([&]() -> Status {
      for (const StateRun& run : Inside(plan.changes, hull)) TRY(change.SetAttributes(run, true));
      return OkStatus();
    });
  }
  TRY(change.Do(ConversionStep::kDma, [&] { return change.TellShared(plan.changes); }));
  // The guest's data goes here, and not before: until now all could be undone.
  change.Try(ConversionStep::kDiscard, [&] { return change.Discard(plan.hulls, PageState::kPrivate); });
  return change.Do(ConversionStep::kCommit, [&] {
    change.Mark(plan.changes, PageState::kConverting, PageState::kShared);
    return OkStatus();
  });
}

Status Converter::Plug(uint64_t base, uint64_t size) {
  if (size == 0 || base > UINT64_MAX - size)
    return InvalidArgument("range at " + RangeText(base, 1) + " is empty or wraps");
  const RangeLocks::Hold hold = LockRange(base, size);
  Transaction change(*this);
  std::vector<StateRun> runs;
  TRY(change.Do(ConversionStep::kPlan, [&]() -> Status {
    TRY_ASSIGN(runs, pages_.Read([&](const PageStateMap& states) { return PlanPlug(states, base, size); }));
    return OkStatus();
  }));
  change.OnUndo([&] { return change.Discard(runs, PageState::kPrivate); });
  TRY(change.Do(ConversionStep::kReserve, [&] { return change.Populate(runs, PageState::kPrivate); }));
  return change.Do(ConversionStep::kCommit, [&] {
    change.Mark(runs, PageState::kUnplugged, PageState::kPrivate);
    return OkStatus();
  });
}

Status Converter::Unplug(uint64_t base, uint64_t size) {
  if (size == 0 || base > UINT64_MAX - size)
    return InvalidArgument("range at " + RangeText(base, 1) + " is empty or wraps");
  const RangeLocks::Hold hold = LockRange(base, size);
  Transaction change(*this);
  UnplugPlan plan;
  TRY(change.Do(ConversionStep::kPlan, [&]() -> Status {
    TRY_ASSIGN(plan, pages_.Read([&](const PageStateMap& states) { return PlanUnplug(states, base, size); }));
    return OkStatus();
  }));
  TRY(Withdraw(change, plan.shared, plan.shared));
  change.Try(ConversionStep::kDiscard, [&] {
    Status shared = change.Discard(change.Discardable(plan.shared), PageState::kShared);
    Status others = change.Discard(plan.whole, PageState::kPrivate);
    return shared.ok() ? others : shared;
  });
  return change.Do(ConversionStep::kCommit, [&] {
    pages_.Change([&](PageStateMap& states) { states.Set(base, size, PageState::kUnplugged); });
    return OkStatus();
  });
}

ConversionCounters Converter::counters() const {
  ConversionCounters copy;
  for (size_t d = 0; d < 2; ++d) {
    copy.conversions[d] = counters_.conversions[d];
    copy.bytes[d] = counters_.bytes[d];
    copy.runs[d] = counters_.runs[d];
  }
  for (size_t i = 0; i < copy.failures.size(); ++i) copy.failures[i] = counters_.failures[i];
  copy.nothing_to_do = counters_.nothing_to_do;
  copy.undone = counters_.undone;
  copy.attribute_calls = counters_.attribute_calls;
  copy.populate_calls = counters_.populate_calls;
  copy.discard_calls = counters_.discard_calls;
  copy.leaked_bytes = counters_.leaked_bytes;
  copy.range_waits = locks_.contended();
  return copy;
}

uint64_t Converter::RetainedBytes() const {
  uint64_t retained = 0;
  pages_.Read([&](const PageStateMap& states) {
    for (const StateRegion& region : states.regions()) {
      const uint64_t page = SharedPageSize(region.base);
      if (page <= kStatePage) continue;
      uint64_t counted = region.base;  // up to here
      for (const StateRun& run : states.RunsIn(PageState::kShared, region.base, region.size)) {
        // All huge pages that the run touches have memory; what of them is not shared is retained.
        const uint64_t first = std::max(counted, region.base + (run.base - region.base) / page * page);
        const uint64_t end =
            std::min(region.end(), region.base + ((run.end() - 1 - region.base) / page + 1) * page);
        if (first >= end) continue;
        states.ForEach(first, end - first, [&](const StateRun& part) {
          if (part.state != PageState::kShared) retained += part.size;
        });
        counted = end;
      }
    }
  });
  return retained;
}

}  // namespace berth::vmm
