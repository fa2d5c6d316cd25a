#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "scheduler/fit/device_fit.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Which guest cell fits on which host cell.
struct CellMatrix {
  std::vector<uint64_t> hosts;  // per guest cell, bit per host cell (index)

  // A guest cell for each, on distinct members of `set` (R2): the host cell's index per guest cell, or
  // nothing.
  std::optional<std::vector<uint32_t>> Place(uint64_t set) const;
};
CellMatrix BuildMatrix(const FitHost& host, const RequestSpec& spec);

// How much each host cell is worth keeping free for others, by index: its free CPUs, and for a guest without
// devices the devices beside it. Filling the fullest cells first keeps whole cells open.
void FillCellWaste(const FitHost& host, const RequestSpec& spec, uint64_t* waste);
// What cells are chosen by, given their waste: beside it the CPUs, or the memory in their place, that would
// be left in a cell without the other in proportion. Filling cells evenly keeps what is left of them of use.
void AddUnevenness(const FitHost& host, const RequestSpec& spec, uint64_t* waste);
// The waste of the cells of `set` together, by which hosts are compared.
uint64_t WasteOf(const FitHost& host, const RequestSpec& spec, uint64_t set);

// A set of host cells, as many as the guest has, on which the guest's cells can be placed.
struct CellSet {
  uint64_t set = 0;
  uint64_t cost = 0;  // waste and unevenness
};
// What the networks of the guest's ports ask of its host cells: each member is a set of host cells of which
// the guest must use at least one. Networks that no host cell is tied to ask nothing.
std::vector<uint64_t> NetworkCells(const FitHost& host, const RequestSpec& spec);

// All of them, by cost, then lowest cells first. Empty and the budget not exhausted: proved that none
// exists.
std::vector<CellSet> ListCellSets(const FitHost& host, const RequestSpec& spec, const CellMatrix& matrix,
                                  StepBudget& budget);

}  // namespace berth::scheduler
