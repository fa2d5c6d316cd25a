#include "scheduler/fit/totals.h"

#include <algorithm>
#include <string>

#include "placement/model/capacity.h"
#include "scheduler/fit/cell_fit.h"

namespace berth::scheduler {
namespace {

uint64_t FloatingUsed(const FitHost& host) {
  uint64_t used = host.floating_vcpus;
  for (const FitCell& cell : host.cells) used += cell.shared_vcpus;
  return used;
}

uint64_t FloatingCapacity(const FitHost& host, uint64_t taken) {
  uint64_t cpus = 0;
  for (const FitCell& cell : host.cells) cpus += cell.counts.shared;
  return placement::WithRatio(cpus - std::min(cpus, taken), host.cpu_ratio);
}

// The fewest shared CPUs that the guest's pins can take.
uint64_t LeastTaken(const FitHost& host, const RequestSpec& spec) {
  uint64_t taken = 0;
  for (uint32_t guest = 0; guest < spec.cells.size(); ++guest) {
    std::optional<uint32_t> least;
    for (const FitCell& cell : host.cells) {
      auto pins = ChoosePins(cell, spec, guest);
      if (!pins) continue;
      uint32_t here = (TakenCpus(*pins) & cell.shared_cpus).Count();
      least = std::min(least.value_or(here), here);
    }
    taken += least.value_or(0);
  }
  return taken;
}

// The least base-page memory that the guest takes on the cells of `set`. A guest cell that fits on none of
// them counts only if it must have base pages.
uint64_t LeastBaseBytes(const FitHost& host, const RequestSpec& spec, uint64_t set) {
  using Kind = PageRequest::Kind;
  if (spec.cells.empty()) return spec.memory_bytes;
  if (spec.encrypted()) return spec.swiotlb_bytes;  // secure memory is no base-page memory
  bool always = spec.pages.kind == Kind::kNotAsked || spec.pages.kind == Kind::kSmall;
  uint64_t bytes = 0;
  for (uint32_t guest = 0; guest < spec.cells.size(); ++guest) {
    std::optional<uint64_t> least;
    if (always) least = spec.cells[guest].memory_bytes;
    for (size_t cell = 0; cell < host.cells.size() && !always; ++cell) {
      if ((set >> cell & 1) == 0 || !CheckCell(host, spec, guest, cell).fits()) continue;
      uint64_t here = BaseBytes(host, spec, guest, cell);
      least = std::min(least.value_or(here), here);
    }
    bytes += least.value_or(0);
  }
  return bytes;
}

Lack CheckMemory(const FitHost& host, uint64_t least) {
  Lack lack;
  if (least <= host.base_room_bytes) return lack;
  lack.code = LackCode::kHostMemory;
  lack.have = host.base_room_bytes;
  lack.need = least;
  return lack;
}

}  // namespace

uint64_t NewFloating(const RequestSpec& spec) {
  if (spec.cells.empty()) return spec.vcpus;
  uint64_t floating = 0;
  for (const GuestCell& cell : spec.cells) floating += cell.vcpus.Count() - cell.pinned.Count();
  return floating;
}

bool PoolsOverlap(const FitHost& host) {
  return std::any_of(host.cells.begin(), host.cells.end(),
                     [](const FitCell& cell) { return cell.counts.overlap; });
}

bool BaseMemoryIsAmple(const FitHost& host, const RequestSpec& spec) {
  if (spec.encrypted()) return spec.swiotlb_bytes <= host.base_room_bytes;
  // Large pages are no base pages.
  if (!spec.cells.empty() && spec.pages.kind == PageRequest::Kind::kLarge) return true;
  uint64_t bytes = spec.cells.empty() ? spec.memory_bytes : 0;
  for (const GuestCell& cell : spec.cells) bytes += cell.memory_bytes;
  return bytes <= host.base_room_bytes;
}

bool TotalsHold(const FitHost& host, uint64_t floating, uint64_t taken) {
  if (floating == 0 && taken == 0) return true;
  return FloatingUsed(host) + floating <= FloatingCapacity(host, taken);
}

Verdict CheckBaseMemory(const FitHost& host, const RequestSpec& spec, uint64_t set,
                        const std::vector<uint32_t>& places) {
  uint64_t bytes = 0;
  for (uint32_t guest = 0; guest < places.size(); ++guest) {
    bytes += BaseBytes(host, spec, guest, places[guest]);
  }
  if (bytes <= host.base_room_bytes) return Verdict::kFits;
  return LeastBaseBytes(host, spec, set) > host.base_room_bytes ? Verdict::kNo : Verdict::kUndecided;
}

Lack FindInTotals(const FitHost& host, const RequestSpec& spec) {
  if (host.rules == FitRules::kScenario) return {};
  uint64_t taken = PoolsOverlap(host) ? LeastTaken(host, spec) : 0;
  if (!TotalsHold(host, NewFloating(spec), taken)) {
    Lack lack;
    lack.code = LackCode::kHostVcpus;
    lack.have = FloatingCapacity(host, taken);
    lack.need = FloatingUsed(host) + NewFloating(spec);
    lack.taken = taken;
    return lack;
  }
  if (BaseMemoryIsAmple(host, spec)) return {};
  return CheckMemory(host, LeastBaseBytes(host, spec, ~uint64_t{0}));
}

Lack FindInBaseMemory(const FitHost& host, const RequestSpec& spec, const std::vector<CellSet>& sets) {
  if (host.rules == FitRules::kScenario || BaseMemoryIsAmple(host, spec)) return {};
  std::optional<uint64_t> least;
  for (const CellSet& one : sets) {
    uint64_t here = LeastBaseBytes(host, spec, one.set);
    least = std::min(least.value_or(here), here);
  }
  return CheckMemory(host, least.value_or(0));
}

}  // namespace berth::scheduler
