#include "scheduler/fit/device_fit.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "scheduler/fit/transport.h"

namespace berth::scheduler {
namespace {

constexpr uint32_t kOpen = UINT32_MAX;

// Branch and bound over the options of the parents. Each node solves the relaxation in which parents that are
// not yet decided may use all their options at once; only parents that do so in two ways are branched on.
class Search {
 public:
  Search(const FitHost& host, const RequestSpec& spec, const DevicePool& pool, const Locality& locality,
         StepBudget& budget)
      : host_(host),
        pool_(pool),
        locality_(locality),
        budget_(budget),
        choice_(pool.parents.size(), kOpen),
        least_(pool.parents.size(), 0) {
    for (const PciRequest& request : spec.pci) demand_.push_back(request.count);
    for (size_t r = 0; r < spec.pci.size(); ++r) {
      policies_[static_cast<size_t>(spec.pci[r].policy)] |= uint64_t{1} << r;
    }
    for (size_t p = 0; p < pool.parents.size(); ++p) {
      if (pool.parents[p].options.size() == 1) choice_[p] = 0;
    }
  }

  DeviceFit Run() {
    Solve();
    if (budget_.exhausted()) best_.verdict = Verdict::kUndecided;
    return std::move(best_);
  }

 private:
  struct Unit {
    uint32_t parent = 0;
    uint32_t option = 0;
    const DeviceClass* devices = nullptr;
    bool alias = false;  // the units that may serve aliases, or the others
  };

  uint64_t AllowedAt(std::optional<NumaNode> node) const {
    uint64_t mask = 0;
    for (size_t p = 0; p < 4; ++p) {
      if (policies_[p] != 0 && locality_.Allows(static_cast<AffinityPolicy>(p), node)) mask |= policies_[p];
    }
    return mask;
  }

  void AddClass(uint32_t parent, uint32_t option, const DeviceClass& devices, Transport& flow) {
    uint64_t serves = devices.serves & AllowedAt(devices.node);
    uint32_t cost = locality_.topology && !locality_.IsLocal(devices.node) ? 1 : 0;
    auto size = static_cast<uint32_t>(devices.devices.size());
    if (serves != 0 && devices.first > 0) {
      units_.push_back({parent, option, &devices, true});
      flow.AddSource(serves, devices.first, cost);
    }
    serves &= ~pool_.alias_requests;
    if (serves != 0 && devices.first < size) {
      units_.push_back({parent, option, &devices, false});
      flow.AddSource(serves, size - devices.first, cost);
    }
  }

  // The relaxation at this node of the search.
  Transport Relax() {
    units_.clear();
    Transport flow(demand_);
    for (uint32_t p = 0; p < pool_.parents.size(); ++p) {
      const auto& options = pool_.parents[p].options;
      for (uint32_t o = least_[p]; o < options.size(); ++o) {
        if (choice_[p] != kOpen && choice_[p] != o) continue;
        for (const DeviceClass& devices : options[o]) AddClass(p, o, devices, flow);
      }
    }
    return flow;
  }

  void Solve() {
    Transport flow = Relax();
    bool full = flow.Run(budget_);
    if (budget_.exhausted() || !full) return;
    if (best_.verdict == Verdict::kFits && flow.cost() >= best_.non_local) return;
    std::optional<uint32_t> conflict = FindConflict(flow);
    if (!conflict) {
      Record(flow);
      return;
    }
    Branch(*conflict);
  }

  // A parent that the solution uses under two options.
  std::optional<uint32_t> FindConflict(const Transport& flow) const {
    std::vector<uint32_t> used(pool_.parents.size(), kOpen);
    for (size_t u = 0; u < units_.size(); ++u) {
      if (flow.Used(u) == 0) continue;
      uint32_t& option = used[units_[u].parent];
      if (option != kOpen && option != units_[u].option) return units_[u].parent;
      option = units_[u].option;
    }
    return std::nullopt;
  }

  // Parent `p` takes each of its options in turn. If an interchangeable parent took an earlier option, the
  // two could be swapped and the case was seen before: so the others may only take later ones.
  void Branch(uint32_t p) {
    auto saved_least = least_;
    auto options = static_cast<uint32_t>(pool_.parents[p].options.size());
    for (uint32_t o = saved_least[p]; o < options && !budget_.exhausted(); ++o) {
      choice_[p] = o;
      for (size_t q = 0; q < pool_.parents.size(); ++q) {
        bool alike = choice_[q] == kOpen && pool_.parents[q].signature == pool_.parents[p].signature;
        if (alike) least_[q] = std::max(least_[q], o);
      }
      Solve();
      if (best_.verdict == Verdict::kFits && best_.non_local == 0) break;
    }
    choice_[p] = kOpen;
    least_ = std::move(saved_least);
  }

  void Record(const Transport& flow) {
    best_.verdict = Verdict::kFits;
    best_.non_local = flow.cost();
    best_.devices.clear();
    for (size_t u = 0; u < units_.size(); ++u) {
      const DeviceClass& devices = *units_[u].devices;
      uint32_t next = units_[u].alias ? 0 : devices.first;
      for (size_t r = 0; r < demand_.size(); ++r) {
        for (uint32_t n = flow.Flow(u, r); n > 0; --n) {
          const FitDevice& device = host_.devices[devices.devices[next++]];
          best_.devices.push_back({static_cast<uint32_t>(r), device.address, device.numa_node});
        }
      }
    }
    std::sort(best_.devices.begin(), best_.devices.end(), [](const auto& a, const auto& b) {
      return std::pair(a.request, a.address) < std::pair(b.request, b.address);
    });
  }

  const FitHost& host_;
  const DevicePool& pool_;
  const Locality& locality_;
  StepBudget& budget_;
  std::vector<uint32_t> demand_;
  uint64_t policies_[4] = {};  // requests by policy
  std::vector<uint32_t> choice_;
  std::vector<uint32_t> least_;  // the first option that an open parent may still take
  std::vector<Unit> units_;
  DeviceFit best_;
};

}  // namespace

bool Locality::IsLocal(std::optional<NumaNode> node) const {
  return node && std::find(nodes.begin(), nodes.end(), *node) != nodes.end();
}

bool Locality::Allows(AffinityPolicy policy, std::optional<NumaNode> node) const {
  if (!topology || policy == AffinityPolicy::kPreferred) return true;
  if (!node) return policy == AffinityPolicy::kLegacy;
  if (IsLocal(node)) return true;
  return policy == AffinityPolicy::kSocket && sockets_known &&
         std::find(socket_nodes.begin(), socket_nodes.end(), *node) != socket_nodes.end();
}

Locality MakeLocality(const FitHost& host, const std::vector<uint32_t>& chosen) {
  Locality locality;
  locality.topology = true;
  for (uint32_t index : chosen) locality.nodes.push_back(host.cells[index].id);
  locality.sockets_known = std::all_of(host.cells.begin(), host.cells.end(),
                                       [](const FitCell& cell) { return cell.socket.has_value(); });
  if (!locality.sockets_known) return locality;
  for (const FitCell& cell : host.cells) {
    bool shares = std::any_of(chosen.begin(), chosen.end(),
                              [&](uint32_t index) { return host.cells[index].socket == cell.socket; });
    if (shares) locality.socket_nodes.push_back(cell.id);
  }
  return locality;
}

DeviceFit FitDevices(const FitHost& host, const RequestSpec& spec, const DevicePool& pool,
                     const Locality& locality, StepBudget& budget) {
  return Search(host, spec, pool, locality, budget).Run();
}

}  // namespace berth::scheduler
