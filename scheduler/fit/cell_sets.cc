#include "scheduler/fit/cell_sets.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "placement/model/capacity.h"
#include "scheduler/fit/cell_fit.h"

namespace berth::scheduler {
namespace {

using Owners = std::array<int, 64>;  // guest cell on each host cell, or -1

// Kuhn's augmenting step: finds a place for `guest` within `set`, moving others if need be.
bool PlaceOne(const CellMatrix& matrix, uint64_t set, size_t guest, uint64_t& seen, Owners& owner) {
  for (uint64_t open = matrix.hosts[guest] & set & ~seen; open != 0;
       open = matrix.hosts[guest] & set & ~seen) {
    int cell = std::countr_zero(open);
    seen |= uint64_t{1} << cell;
    auto& holder = owner[static_cast<size_t>(cell)];
    if (holder < 0 || PlaceOne(matrix, set, static_cast<size_t>(holder), seen, owner)) {
      holder = static_cast<int>(guest);
      return true;
    }
  }
  return false;
}

bool TouchesAll(uint64_t set, const std::vector<uint64_t>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [set](uint64_t one) { return (one & set) != 0; });
}

// What a CPU without memory, or memory without a CPU, counts beside a free CPU. Measured (docs/replay.md):
// from 2 on the first VM of Azure's packing trace is refused at 96 % of the CPUs, below 2 at 92.9 %.
constexpr double kUneven = 2.5;

uint64_t FloatingRoom(const FitHost& host, const FitCell& cell) {
  const uint64_t limit = placement::WithRatio(cell.counts.shared, host.cpu_ratio);
  return limit > cell.shared_vcpus ? limit - cell.shared_vcpus : 0;
}

}  // namespace

void FillCellWaste(const FitHost& host, const RequestSpec& spec, uint64_t* waste) {
  const bool floats = spec.cpu_policy == CpuPolicy::kShared;
  for (size_t c = 0; c < host.cells.size(); ++c) {
    waste[c] = floats ? FloatingRoom(host, host.cells[c]) : host.cells[c].counts.free;
  }
  if (!spec.pci.empty()) return;
  for (const DeviceGroup& group : host.groups) {
    if (group.cell >= 0) waste[group.cell] += 8 * uint64_t{group.count};
  }
}

void AddUnevenness(const FitHost& host, const RequestSpec& spec, uint64_t* waste) {
  if (host.rules != FitRules::kClaims) return;
  const bool floats = spec.cpu_policy == CpuPolicy::kShared;
  const double ratio = floats ? host.cpu_ratio : 1;
  const auto guest_cells = static_cast<double>(std::max<size_t>(spec.cells.size(), 1));
  const double cpus = spec.vcpus / guest_cells / ratio;
  const double memory = static_cast<double>(spec.memory_bytes) / guest_cells;
  for (size_t c = 0; c < host.cells.size(); ++c) {
    const FitCell& cell = host.cells[c];
    if (cell.cpus_per_byte == 0) continue;
    // Of both pools where they are two, for the memory is one.
    double left = floats ? static_cast<double>(FloatingRoom(host, cell)) / ratio
                         : static_cast<double>(cell.counts.free);
    if (!cell.counts.overlap)
      left = static_cast<double>(FloatingRoom(host, cell)) / host.cpu_ratio +
             static_cast<double>(cell.counts.free);
    const double memory_left = (static_cast<double>(MemoryRoom(cell)) - memory) * cell.cpus_per_byte;
    waste[c] += static_cast<uint64_t>(kUneven * ratio * std::abs(left - cpus - memory_left));
  }
}

uint64_t WasteOf(const FitHost& host, const RequestSpec& spec, uint64_t set) {
  std::array<uint64_t, 64> waste;
  FillCellWaste(host, spec, waste.data());
  uint64_t sum = 0;
  for (; set != 0; set &= set - 1) sum += waste[static_cast<size_t>(std::countr_zero(set))];
  return sum;
}

std::vector<uint64_t> NetworkCells(const FitHost& host, const RequestSpec& spec) {
  std::vector<uint64_t> out;
  auto add = [&](auto&& tied) {
    uint64_t cells = 0;
    for (size_t c = 0; c < host.cells.size(); ++c) {
      if (tied(host.cells[c])) cells |= uint64_t{1} << c;
    }
    if (cells != 0) out.push_back(cells);
  };
  for (const std::string& name : spec.physical_networks) {
    add([&](const FitCell& cell) {
      return std::find(cell.physical_networks.begin(), cell.physical_networks.end(), name) !=
             cell.physical_networks.end();
    });
  }
  if (spec.tunneled) add([](const FitCell& cell) { return cell.tunneled; });
  return out;
}

std::optional<std::vector<uint32_t>> CellMatrix::Place(uint64_t set) const {
  Owners owner;
  owner.fill(-1);
  // The last one placed chooses best: so that guest cell 0 gets the lowest host cell that it can have.
  for (size_t guest = hosts.size(); guest-- > 0;) {
    uint64_t seen = 0;
    if (!PlaceOne(*this, set, guest, seen, owner)) return std::nullopt;
  }
  std::vector<uint32_t> places(hosts.size());
  for (uint32_t cell = 0; cell < 64; ++cell) {
    if (owner[cell] >= 0) places[static_cast<size_t>(owner[cell])] = cell;
  }
  return places;
}

CellMatrix BuildMatrix(const FitHost& host, const RequestSpec& spec) {
  CellMatrix matrix;
  for (uint32_t guest = 0; guest < spec.cells.size(); ++guest) {
    uint64_t row = 0;
    for (size_t cell = 0; cell < host.cells.size(); ++cell) {
      if (CheckCell(host, spec, guest, cell).fits()) row |= uint64_t{1} << cell;
    }
    matrix.hosts.push_back(row);
  }
  return matrix;
}

std::vector<CellSet> ListCellSets(const FitHost& host, const RequestSpec& spec, const CellMatrix& matrix,
                                  StepBudget& budget) {
  std::vector<CellSet> out;
  uint64_t usable = 0;
  for (uint64_t row : matrix.hosts) {
    if (row == 0) return out;
    usable |= row;
  }
  size_t wanted = matrix.hosts.size();
  std::vector<uint32_t> cells;
  for (uint64_t left = usable; left != 0; left &= left - 1)
    cells.push_back(static_cast<uint32_t>(std::countr_zero(left)));
  if (cells.size() < wanted || !matrix.Place(usable)) return out;
  std::array<uint64_t, 64> cost;
  FillCellWaste(host, spec, cost.data());
  AddUnevenness(host, spec, cost.data());
  std::vector<uint64_t> networks = NetworkCells(host, spec);
  // Every combination of `wanted` cells, in the order of their numbers.
  std::vector<size_t> pick(wanted);
  for (size_t i = 0; i < wanted; ++i) pick[i] = i;
  while (true) {
    CellSet one;
    for (size_t i : pick) {
      one.set |= uint64_t{1} << cells[i];
      one.cost += cost[cells[i]];
    }
    if (!budget.Spend(wanted * 4)) return out;
    if (TouchesAll(one.set, networks) && (wanted == 1 || matrix.Place(one.set))) out.push_back(one);
    size_t i = wanted;
    while (i > 0 && pick[i - 1] == cells.size() - wanted + i - 1) --i;
    if (i == 0) break;
    ++pick[i - 1];
    for (; i < wanted; ++i) pick[i] = pick[i - 1] + 1;
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const CellSet& a, const CellSet& b) { return a.cost < b.cost; });
  return out;
}

}  // namespace berth::scheduler
