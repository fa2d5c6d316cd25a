#include <algorithm>

#include "scheduler/fit/cell_fit.h"

namespace berth::scheduler {
namespace {

// Moves the lowest `count` members of `from` on this core.
void MoveLowest(const CpuSet& core, const CpuSet& from, uint32_t count, CpuSet& to) {
  for (uint32_t cpu = core.First(); count > 0 && cpu != CpuSet::kNone; cpu = core.NextAfter(cpu)) {
    if (!from.Contains(cpu)) continue;
    to.Add(cpu);
    --count;
  }
}

// Takes up to `count` CPUs: whole cores first, the largest that still fit, and at most one core in part.
CpuSet TakePacked(const FitCell& cell, const CpuSet& from, uint32_t count) {
  CpuSet taken;
  if (count == 0 || from.empty()) return taken;
  // Open CPUs of each core, counted once.
  std::vector<uint32_t> open(cell.siblings.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = cell.siblings[i].CountCommon(from);
  while (count > 0) {
    uint32_t size = 0;             // the largest that fits
    uint32_t larger = UINT32_MAX;  // the smallest that does not
    size_t in_part = 0;            // the first core of that size
    for (size_t i = 0; i < open.size(); ++i) {
      if (open[i] <= count) {
        size = std::max(size, open[i]);
      } else if (open[i] < larger) {
        larger = open[i];
        in_part = i;
      }
    }
    if (size == 0) {
      if (larger != UINT32_MAX) MoveLowest(cell.siblings[in_part], from, count, taken);
      break;
    }
    // All cores of that size for as long as they fit: they come before smaller ones.
    for (size_t i = 0; i < open.size() && count >= size; ++i) {
      if (open[i] != size) continue;
      MoveLowest(cell.siblings[i], from, size, taken);
      open[i] = 0;
      count -= size;
    }
  }
  return taken;
}

// The same, CPUs that are not shared first.
CpuSet TakeUnsharedFirst(const FitCell& cell, const CpuSet& from, uint32_t count) {
  CpuSet taken = TakePacked(cell, from - cell.shared_cpus, count);
  return taken | TakePacked(cell, from & cell.shared_cpus, count - taken.Count());
}

CpuSet OnPairedCores(const FitCell& cell) {
  CpuSet out;
  for (const CpuSet& core : cell.siblings) {
    if (core.CountCommon(cell.free_dedicated) >= 2) out |= core & cell.free_dedicated;
  }
  return out;
}

void PinInOrder(const CpuSet& vcpus, const CpuSet& cpus, CellPins& pins) {
  pins.pinning.reserve(vcpus.Count());
  uint32_t cpu = cpus.First();
  for (uint32_t vcpu = vcpus.First(); vcpu != CpuSet::kNone; vcpu = vcpus.NextAfter(vcpu)) {
    pins.pinning.emplace_back(vcpu, cpu);
    cpu = cpus.NextAfter(cpu);
  }
}

// One core each in a single pool with SMT; siblings are blocked. The emulator's core need not be whole.
std::optional<CellPins> PinIsolated(const FitCell& cell, const CpuSet& vcpus, bool emulator) {
  std::vector<CpuSet> whole;
  std::vector<CpuSet> parts;
  for (const CpuSet& core : cell.siblings) {
    CpuSet free = core & cell.free_dedicated;
    if (free.empty()) continue;
    (free == core ? whole : parts).push_back(free);
  }
  auto smaller = [](const CpuSet& a, const CpuSet& b) { return a.Count() < b.Count(); };
  std::stable_sort(whole.begin(), whole.end(), smaller);
  if (whole.size() < vcpus.Count()) return std::nullopt;
  CellPins pins;
  CpuSet cpus;
  for (size_t i = 0; i < vcpus.Count(); ++i) {
    CpuSet blocked = whole[i];
    cpus.Add(blocked.First());
    blocked.Remove(blocked.First());
    pins.reserved |= blocked;
  }
  PinInOrder(vcpus, cpus, pins);
  if (!emulator) return pins;
  parts.insert(parts.end(), whole.begin() + vcpus.Count(), whole.end());
  auto core = std::min_element(parts.begin(), parts.end(), smaller);
  if (core == parts.end()) return std::nullopt;
  pins.reserved |= *core;
  return pins;
}

}  // namespace

std::optional<CellPins> ChoosePins(const FitCell& cell, const RequestSpec& spec, uint32_t guest) {
  const CpuSet& vcpus = spec.cells[guest].pinned;
  bool emulator = guest == 0 && spec.emulator_policy == EmulatorPolicy::kIsolate;
  if (!vcpus.empty() && spec.thread_policy == ThreadPolicy::kIsolate && cell.counts.smt) {
    return PinIsolated(cell, vcpus, emulator);
  }
  CellPins pins;
  bool paired = spec.thread_policy == ThreadPolicy::kRequire;
  CpuSet cpus = TakeUnsharedFirst(cell, paired ? OnPairedCores(cell) : cell.free_dedicated, vcpus.Count());
  if (cpus.Count() < vcpus.Count()) return std::nullopt;
  PinInOrder(vcpus, cpus, pins);
  if (emulator) {
    pins.reserved = TakeUnsharedFirst(cell, cell.free_dedicated - cpus, 1);
    if (pins.reserved.empty()) return std::nullopt;
  }
  return pins;
}

CpuSet TakenCpus(const CellPins& pins) {
  CpuSet taken = pins.reserved;
  for (const auto& [vcpu, cpu] : pins.pinning) taken.Add(cpu);
  return taken;
}

}  // namespace berth::scheduler
