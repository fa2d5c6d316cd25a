#include "scheduler/fit/lack.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "scheduler/fit/device_fit.h"
#include "scheduler/fit/device_pool.h"
#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/quick_devices.h"
#include "scheduler/fit/totals.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kBudget = 1'000'000;
constexpr size_t kMaxPlaces = 64;

Lack Figures(LackCode code, uint64_t have, uint64_t need) {
  Lack lack;
  lack.code = code;
  lack.have = have;
  lack.need = need;
  return lack;
}

Lack OfRequest(LackCode code, size_t request, uint64_t have, uint64_t need) {
  Lack lack = Figures(code, have, need);
  lack.subject = static_cast<uint32_t>(request);
  return lack;
}

// The largest number of guest cells that can be placed together.
size_t MostPlaced(const CellMatrix& matrix) {
  CellMatrix some;
  for (uint64_t row : matrix.hosts) {
    some.hosts.push_back(row);
    if (!some.Place(~uint64_t{0})) some.hosts.pop_back();
  }
  return some.hosts.size();
}

Nearness NearnessOf(const DeviceGroup& group, uint64_t cells, uint64_t socket) {
  if (group.cell == DeviceGroup::kUnknownNode) return Nearness::kUnknown;
  if (group.cell == DeviceGroup::kOtherNode) return Nearness::kElsewhere;
  if ((cells >> group.cell & 1) != 0) return Nearness::kLocal;
  return (socket >> group.cell & 1) != 0 ? Nearness::kSocket : Nearness::kElsewhere;
}

uint64_t SocketCells(const FitHost& host, uint64_t cells) {
  if (!host.sockets_known) return 0;
  uint64_t out = 0;
  for (size_t c = 0; c < host.cells.size(); ++c) {
    for (uint64_t left = cells; left != 0; left &= left - 1) {
      if (host.cells[c].socket == host.cells[static_cast<size_t>(std::countr_zero(left))].socket)
        out |= uint64_t{1} << c;
    }
  }
  return out;
}

}  // namespace

Lack LackFinder::Find(const FitHost& host) {
  if (!host.can_run_guests) return Figures(LackCode::kNoKvm, 0, 1);
  if (spec_.smt != SmtTrait::kAny && host.smt != (spec_.smt == SmtTrait::kRequired))
    return Figures(LackCode::kSmt, host.smt ? 1 : 0, host.smt ? 0 : 1);
  if (spec_.disk_bytes > host.disk_room_bytes)
    return Figures(LackCode::kHostDisk, host.disk_room_bytes, spec_.disk_bytes);
  if (Lack lack = FindInTotals(host, spec_); lack.code != LackCode::kNothing) return lack;
  if (!spec_.cells.empty()) {
    if (Lack lack = FindInCells(host); lack.code != LackCode::kNothing) return lack;
  }
  return FindInDevices(host);
}

// The host cell that comes nearest to taking the guest cell: the one whose lack is found last.
Lack LackFinder::NearestCell(const FitHost& host, const CellNeed& need) const {
  Lack out = Figures(LackCode::kCell, 0, 0);
  out.subject = need.guest;
  for (const FitCell& cell : host.cells) {
    CellCheck check = CheckCell(host, spec_, need, cell);
    bool better = out.node == Lack::kNobody || check.lack > out.cell ||
                  (check.lack == out.cell && check.have > out.have);
    if (!better) continue;
    out.node = cell.id;
    out.cell = check.lack;
    out.have = check.have;
    out.need = check.need;
    out.page_size_bytes = check.page_size_bytes;
  }
  return out;
}

Lack LackFinder::FindInCells(const FitHost& host) {
  size_t wanted = spec_.cells.size();
  if (host.cells.size() < wanted) return Figures(LackCode::kCells, host.cells.size(), wanted);
  usable_ = 0;
  for (const RequestPlan::CellKind& kind : plan_.kinds()) {
    uint64_t row = 0;
    for (size_t c = 0; c < host.cells.size(); ++c) {
      if (CheckCell(host, spec_, kind.need, host.cells[c]).fits()) row |= uint64_t{1} << c;
    }
    if (row == 0) return NearestCell(host, kind.need);
    usable_ |= row;
  }
  bool distinct = static_cast<size_t>(std::popcount(usable_)) >= wanted;
  if (distinct && plan_.kinds().size() > 1) distinct = BuildMatrix(host, spec_).Place(usable_).has_value();
  if (!distinct) return Figures(LackCode::kCellsDistinct, MostPlaced(BuildMatrix(host, spec_)), wanted);
  std::vector<uint64_t> networks = NetworkCells(host, spec_);
  bool nearly_full = host.rules == FitRules::kClaims && !BaseMemoryIsAmple(host, spec_);
  if (networks.empty() && !nearly_full) return {};
  StepBudget budget(kBudget);
  std::vector<CellSet> sets = ListCellSets(host, spec_, BuildMatrix(host, spec_), budget);
  if (budget.exhausted()) return {};
  if (!networks.empty() && sets.empty()) return Figures(LackCode::kNetwork, 0, networks.size());
  return FindInBaseMemory(host, spec_, sets);
}

void LackFinder::ListPlaces(const FitHost& host) {
  places_.clear();
  auto add = [&](uint64_t cells) {
    places_.push_back({cells, plan_.uses_sockets() ? SocketCells(host, cells) : 0});
  };
  if (spec_.cells.size() == 1 && spec_.physical_networks.empty() && !spec_.tunneled) {
    for (uint64_t left = usable_; left != 0; left &= left - 1) add(left & ~(left - 1));
    return;
  }
  StepBudget budget(kBudget);
  for (const CellSet& one : ListCellSets(host, spec_, BuildMatrix(host, spec_), budget)) {
    add(one.set);
    if (places_.size() >= kMaxPlaces) break;
  }
}

// Exact for one request: each family gives its PF or its VFs, and under group_policy=isolate one device to
// aliases.
uint32_t LackFinder::MostDevices(const FitHost& host, size_t request, const Place* place) {
  uint64_t bit = uint64_t{1} << request;
  bool one_each = spec_.isolate_groups && !spec_.pci[request].from_port;
  uint32_t singles = 0;
  families_.clear();
  for (const DeviceGroup& group : host.groups) {
    if ((plan_.Serves(group.type) & bit) == 0) continue;
    if (place != nullptr && (plan_.Allowed(NearnessOf(group, place->cells, place->socket)) & bit) == 0)
      continue;
    if (group.family == DeviceGroup::kNoFamily) {
      singles += group.count;
      continue;
    }
    auto family = static_cast<size_t>(group.family);
    if (families_.size() <= family) families_.resize(family + 1);
    (group.is_parent ? families_[family].parents : families_[family].children) += group.count;
  }
  uint32_t most = singles;
  for (const FamilyCount& family : families_) {
    uint32_t here = std::max(family.parents, family.children);
    most += one_each ? std::min(here, 1u) : here;
  }
  return most;
}

bool LackFinder::ServedTogether(const FitHost& host) const {
  QuickDevices devices;
  if (spec_.pci.size() <= RequestPlan::kMaxQuick && devices.Collect(host, plan_)) return devices.Suffice();
  StepBudget budget(kBudget);
  return FitDevices(host, spec_, BuildDevicePool(host, spec_), Locality{}, budget).verdict != Verdict::kNo;
}

bool LackFinder::DomainsAreMissing(const FitHost& host) const {
  StepBudget budget(kBudget);
  for (const DomainChoice& domains : ListDomainChoices(host, spec_, budget)) {
    DevicePool pool = BuildDevicePool(host, spec_, domains);
    if (FitDevices(host, spec_, pool, Locality{}, budget).verdict != Verdict::kNo) return false;
  }
  return !budget.exhausted();
}

Lack LackFinder::FindInDevices(const FitHost& host) {
  for (size_t r = 0; r < spec_.pci.size(); ++r) {
    uint32_t most = MostDevices(host, r, nullptr);
    if (most < spec_.pci[r].count) return OfRequest(LackCode::kDevices, r, most, spec_.pci[r].count);
  }
  if (spec_.pci.size() > 1 && !ServedTogether(host)) return Figures(LackCode::kDevicesTogether, 0, 0);
  if (!spec_.domains.empty() && DomainsAreMissing(host)) return Figures(LackCode::kDomain, 0, 0);
  if (spec_.pci.empty() || spec_.cells.empty()) return {};
  ListPlaces(host);
  for (size_t r = 0; r < spec_.pci.size(); ++r) {
    uint32_t most = 0;
    for (const Place& place : places_) most = std::max(most, MostDevices(host, r, &place));
    if (most < spec_.pci[r].count) return OfRequest(LackCode::kPciNuma, r, most, spec_.pci[r].count);
  }
  return Figures(LackCode::kPciNumaTogether, 0, 0);
}

}  // namespace berth::scheduler
