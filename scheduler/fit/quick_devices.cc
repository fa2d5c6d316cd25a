#include "scheduler/fit/quick_devices.h"

#include <algorithm>
#include <functional>

#include "scheduler/fit/domain_choice.h"

namespace berth::scheduler {

bool QuickDevices::Add(uint64_t serves, int32_t cell, uint32_t count) {
  if (serves == 0 || count == 0) return true;
  size_t k = 0;
  while (k < kinds_used_ && kinds_[k].serves != serves) ++k;
  if (k == kinds_used_) {
    if (kinds_used_ == kMaxKinds) return false;
    Kind& fresh = kinds_[kinds_used_++];
    fresh.serves = serves;
    fresh.unknown = fresh.elsewhere = fresh.in_cells = 0;
    std::fill_n(fresh.cells.begin(), host_cells_, 0);
  }
  Kind& kind = kinds_[k];
  if (cell == DeviceGroup::kUnknownNode) {
    kind.unknown += count;
  } else if (cell == DeviceGroup::kOtherNode) {
    kind.elsewhere += count;
  } else {
    kind.cells[static_cast<size_t>(cell)] += count;
    kind.in_cells += count;
  }
  return true;
}

bool QuickDevices::AreAlike(size_t a, size_t b) const {
  for (size_t k = 0; k < kinds_used_; ++k) {
    if (kinds_[k].cells[a] != kinds_[k].cells[b]) return false;
  }
  return true;
}

bool QuickDevices::Collect(const FitHost& host, const RequestPlan& plan) {
  plan_ = &plan;
  host_cells_ = host.cells.size();
  size_t requests = plan.spec().pci.size();
  sets_ = size_t{1} << requests;
  demand_[0] = 0;
  for (size_t set = 1; set < sets_; ++set) {
    demand_[set] = demand_[set & (set - 1)] +
                   plan.demand(static_cast<size_t>(std::countr_zero(static_cast<uint64_t>(set))));
  }
  kinds_used_ = 0;
  bool isolate = plan.spec().isolate_groups;
  bool one_parent = WantsOneParent(plan.spec());
  int32_t family = DeviceGroup::kNoFamily;  // of the group before, if it could serve
  bool parent_serves = false;
  bool gave_alias = false;
  for (const DeviceGroup& group : host.groups) {
    uint64_t serves = plan.Serves(group.type);
    if (serves == 0) continue;
    uint32_t count = group.count;
    if (one_parent) {
      // A parent serves with all that is asked for, or not at all. Devices without family are parents by
      // themselves; a family of several groups may mix them.
      uint32_t wanted = plan.total_demand();
      bool alone = group.family == DeviceGroup::kNoFamily;
      if (!alone && SeenFamily(host, group, plan)) return false;
      if (alone ? wanted > 1 : count < wanted) continue;
      if (!alone) count = wanted;
    }
    if (group.family == DeviceGroup::kNoFamily) {
      if (!Add(serves, group.cell, count)) return false;
      continue;
    }
    // A PF's address need not be next to those of its VFs, but on all hardware it is; elsewhere `Collect`
    // looks at the whole family.
    bool same = group.family == family;
    if (!same) {
      if (SeenFamily(host, group, plan)) return false;
      family = group.family;
      parent_serves = gave_alias = false;
    }
    if (group.is_parent) {
      if (same) return false;  // VFs of it came before
      parent_serves = true;
    } else if (parent_serves) {
      return false;  // the PF or its VFs: a choice
    }
    uint64_t aliases = serves & plan.alias_requests();
    if (isolate && aliases != 0 && !group.is_parent) {
      if (gave_alias) return false;  // which kind serves the alias: a choice
      gave_alias = true;
      if (!Add(serves, group.cell, 1)) return false;
      serves &= ~aliases;
      --count;
    }
    if (!Add(serves, group.cell, count)) return false;
  }
  return true;
}

// Whether an earlier group, not the one just before, is of the same family and could serve.
bool QuickDevices::SeenFamily(const FitHost& host, const DeviceGroup& group, const RequestPlan& plan) {
  for (const DeviceGroup& other : host.groups) {
    if (&other == &group) return false;
    if (other.family == group.family && plan.Serves(other.type) != 0) return true;
  }
  return false;
}

uint32_t QuickDevices::MostMet(Counts& exactly) const {
  // exactly[set] becomes the devices that serve no request outside `set`.
  for (size_t bit = 1; bit < sets_; bit <<= 1) {
    for (size_t set = 0; set < sets_; ++set) {
      if ((set & bit) != 0) exactly[set] += exactly[set ^ bit];
    }
  }
  uint32_t all = exactly[sets_ - 1];
  uint32_t most = UINT32_MAX;
  for (size_t set = 0; set < sets_; ++set) {
    // Requests outside `set` wholly met, and those in it by all devices that reach into it.
    uint32_t reach = all - exactly[(sets_ - 1) ^ set];
    most = std::min(most, demand_[(sets_ - 1) ^ set] + reach);
  }
  return most;
}

std::optional<uint32_t> QuickDevices::Count(uint64_t local, uint64_t socket) const {
  Counts near;
  Counts all;
  std::fill_n(near.begin(), sets_, 0);
  std::fill_n(all.begin(), sets_, 0);
  for (size_t k = 0; k < kinds_used_; ++k) {
    const Kind& kind = kinds_[k];
    uint32_t beside = 0;
    for (uint64_t left = local; left != 0; left &= left - 1)
      beside += kind.cells[static_cast<size_t>(std::countr_zero(left))];
    uint32_t on_socket = 0;
    for (uint64_t left = socket & ~local; left != 0; left &= left - 1)
      on_socket += kind.cells[static_cast<size_t>(std::countr_zero(left))];
    near[kind.serves] += beside;
    auto add = [&](Nearness nearness, uint32_t count) {
      all[kind.serves & plan_->Allowed(nearness)] += count;
    };
    add(Nearness::kLocal, beside);
    add(Nearness::kSocket, on_socket);
    add(Nearness::kElsewhere, kind.elsewhere + kind.in_cells - beside - on_socket);
    add(Nearness::kUnknown, kind.unknown);
  }
  uint32_t wanted = plan_->total_demand();
  if (MostMet(all) < wanted) return std::nullopt;
  return wanted - MostMet(near);
}

bool QuickDevices::Suffice() const {
  Counts all;
  std::fill_n(all.begin(), sets_, 0);
  for (size_t k = 0; k < kinds_used_; ++k) {
    const Kind& kind = kinds_[k];
    all[kind.serves] += kind.unknown + kind.elsewhere + kind.in_cells;
  }
  return MostMet(all) >= plan_->total_demand();
}

std::optional<uint32_t> QuickDevices::LowerBound(uint64_t usable, uint32_t cells) const {
  // Of a cell that is not chosen, devices serve at most what they may serve from the same socket.
  Nearness far = plan_->uses_sockets() ? Nearness::kSocket : Nearness::kElsewhere;
  uint32_t met_near = UINT32_MAX;
  for (size_t set = 1; set < sets_; ++set) {
    // Devices that reach into the set: beside each cell, the part of them that only serves when chosen, and
    // all that serve anyway.
    std::array<uint32_t, kCells> beside;
    std::array<uint32_t, kCells> only_local;
    std::fill_n(beside.begin(), host_cells_, 0);
    std::fill_n(only_local.begin(), host_cells_, 0);
    uint32_t anyway = 0;
    for (size_t k = 0; k < kinds_used_; ++k) {
      const Kind& kind = kinds_[k];
      uint64_t reach = kind.serves & set;
      if (reach == 0) continue;
      if ((reach & plan_->Allowed(Nearness::kUnknown)) != 0) anyway += kind.unknown;
      if ((reach & plan_->Allowed(Nearness::kElsewhere)) != 0) anyway += kind.elsewhere;
      bool serves_far = (reach & plan_->Allowed(far)) != 0;
      if (serves_far) anyway += kind.in_cells;
      for (uint64_t left = usable; left != 0; left &= left - 1) {
        auto c = static_cast<size_t>(std::countr_zero(left));
        beside[c] += kind.cells[c];
        if (!serves_far) only_local[c] += kind.cells[c];
      }
    }
    auto best = [&](std::array<uint32_t, kCells>& counts) {
      auto end = counts.begin() + static_cast<ptrdiff_t>(host_cells_);
      std::partial_sort(counts.begin(), counts.begin() + cells, end, std::greater<>());
      uint32_t sum = 0;
      for (uint32_t i = 0; i < cells; ++i) sum += counts[i];
      return sum;
    };
    if (anyway + best(only_local) < demand_[set]) return std::nullopt;
    met_near = std::min(met_near, demand_[(sets_ - 1) ^ set] + best(beside));
  }
  uint32_t wanted = plan_->total_demand();
  return wanted - std::min(wanted, met_near);
}

}  // namespace berth::scheduler
