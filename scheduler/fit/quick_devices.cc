#include "scheduler/fit/quick_devices.h"

#include <algorithm>
#include <functional>

namespace berth::scheduler {

bool QuickDevices::Add(uint64_t serves, int32_t cell, uint32_t count) {
  if (serves == 0 || count == 0) return true;
  for (size_t i = 0; i < size_; ++i) {
    if (buckets_[i].serves != serves || buckets_[i].cell != cell) continue;
    buckets_[i].count += count;
    return true;
  }
  if (size_ == kMaxBuckets) return false;
  buckets_[size_++] = {serves, cell, count};
  return true;
}

bool QuickDevices::Collect(const FitHost& host, const RequestPlan& plan) {
  plan_ = &plan;
  size_t requests = plan.spec().pci.size();
  sets_ = size_t{1} << requests;
  demand_[0] = 0;
  for (size_t set = 1; set < sets_; ++set) {
    demand_[set] = demand_[set & (set - 1)] +
                   plan.demand(static_cast<size_t>(std::countr_zero(static_cast<uint64_t>(set))));
  }
  size_ = 0;
  bool isolate = plan.spec().isolate_groups;
  int32_t family = DeviceGroup::kNoFamily;  // of the group before, if it could serve
  bool parent_serves = false;
  bool gave_alias = false;
  for (const DeviceGroup& group : host.groups) {
    uint64_t serves = plan.Serves(group.type);
    if (serves == 0) continue;
    uint32_t count = group.count;
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

Nearness QuickDevices::NearnessOf(int32_t cell, uint64_t local, uint64_t socket) const {
  if (cell == DeviceGroup::kUnknownNode) return Nearness::kUnknown;
  if (cell == DeviceGroup::kOtherNode) return Nearness::kElsewhere;
  if ((local >> cell & 1) != 0) return Nearness::kLocal;
  return (socket >> cell & 1) != 0 ? Nearness::kSocket : Nearness::kElsewhere;
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
  for (const Bucket& bucket : *this) {
    Nearness nearness = NearnessOf(bucket.cell, local, socket);
    uint64_t serves = bucket.serves & plan_->Allowed(nearness);
    all[serves] += bucket.count;
    if (nearness == Nearness::kLocal) near[serves] += bucket.count;
  }
  uint32_t wanted = plan_->total_demand();
  if (MostMet(all) < wanted) return std::nullopt;
  return wanted - MostMet(near);
}

bool QuickDevices::Suffice() const {
  Counts all;
  std::fill_n(all.begin(), sets_, 0);
  for (const Bucket& bucket : *this) all[bucket.serves] += bucket.count;
  return MostMet(all) >= plan_->total_demand();
}

std::optional<uint32_t> QuickDevices::LowerBound(uint64_t usable, uint32_t cells) const {
  bool sockets = plan_->uses_sockets();
  uint32_t met_near = UINT32_MAX;
  for (size_t set = 1; set < sets_; ++set) {
    // Devices that reach into the set: beside each cell, and wherever they are allowed anyway.
    std::array<uint32_t, 64> beside{};
    uint32_t anyway = 0;
    for (const Bucket& bucket : *this) {
      if ((bucket.serves & set) == 0) continue;
      bool in_cell = bucket.cell >= 0 && (usable >> bucket.cell & 1) != 0;
      Nearness far = bucket.cell == DeviceGroup::kUnknownNode ? Nearness::kUnknown : Nearness::kElsewhere;
      if (sockets && bucket.cell >= 0) far = Nearness::kSocket;
      bool far_serves = (bucket.serves & plan_->Allowed(far) & set) != 0;
      if (far_serves) anyway += bucket.count;
      if (in_cell) beside[static_cast<size_t>(bucket.cell)] += bucket.count;
    }
    std::array<uint32_t, 64> only_local = beside;
    for (const Bucket& bucket : *this) {
      if ((bucket.serves & set) == 0 || bucket.cell < 0) continue;
      Nearness far = sockets ? Nearness::kSocket : Nearness::kElsewhere;
      bool counted = (bucket.serves & plan_->Allowed(far) & set) != 0;
      if (counted && (usable >> bucket.cell & 1) != 0)
        only_local[static_cast<size_t>(bucket.cell)] -= bucket.count;
    }
    auto best = [cells](std::array<uint32_t, 64>& counts) {
      std::partial_sort(counts.begin(), counts.begin() + cells, counts.end(), std::greater<>());
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
