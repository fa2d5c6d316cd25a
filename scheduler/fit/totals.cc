#include "scheduler/fit/totals.h"

#include <algorithm>
#include <string>

#include "placement/model/capacity.h"
#include "scheduler/fit/cell_fit.h"

namespace berth::scheduler {
namespace {

uint64_t NewFloating(const RequestSpec& spec) {
  if (spec.cells.empty()) return spec.vcpus;
  uint64_t floating = 0;
  for (const GuestCell& cell : spec.cells) floating += cell.vcpus.Count() - cell.pinned.Count();
  return floating;
}

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

std::optional<Reason> CheckMemory(const FitHost& host, const RequestSpec& spec) {
  if (!spec.cells.empty() && spec.pages.kind != PageRequest::Kind::kNotAsked) return std::nullopt;
  uint64_t capacity = 0;
  uint64_t used = host.floating_memory_bytes;
  for (const FitCell& cell : host.cells) {
    capacity += cell.memory_bytes;
    used += cell.memory_used_bytes;
  }
  capacity = placement::WithRatio(capacity, host.ram_ratio);
  uint64_t room = capacity > used ? capacity - used : 0;
  if (spec.memory_bytes <= room) return std::nullopt;
  std::string have = std::to_string(room >> 20) + " MiB";
  std::string need = std::to_string(spec.memory_bytes >> 20) + " MiB";
  return Reason{"host_memory", have, need, "host",
                "the host has " + have + " left in all, " + need + " are needed"};
}

}  // namespace

bool PoolsOverlap(const FitHost& host) {
  return std::any_of(host.cells.begin(), host.cells.end(),
                     [](const FitCell& cell) { return cell.counts.overlap; });
}

bool TotalsHold(const FitHost& host, const RequestSpec& spec, uint64_t taken) {
  uint64_t floating = NewFloating(spec);
  if (floating == 0 && taken == 0) return true;
  return FloatingUsed(host) + floating <= FloatingCapacity(host, taken);
}

std::optional<Reason> CheckTotals(const FitHost& host, const RequestSpec& spec) {
  if (host.rules == FitRules::kScenario) return std::nullopt;
  uint64_t taken = PoolsOverlap(host) ? LeastTaken(host, spec) : 0;
  if (!TotalsHold(host, spec, taken)) {
    std::string capacity = std::to_string(FloatingCapacity(host, taken));
    std::string used = std::to_string(FloatingUsed(host));
    std::string need = std::to_string(FloatingUsed(host) + NewFloating(spec));
    std::string pins = taken > 0 ? " after pinning " + std::to_string(taken) + " of them" : "";
    return Reason{"host_vcpus", capacity, need, "host",
                  "the host's shared CPUs carry " + capacity + " floating vCPUs in all" + pins + "; " + used +
                      " float there already and " + std::to_string(NewFloating(spec)) + " would come"};
  }
  return CheckMemory(host, spec);
}

}  // namespace berth::scheduler
