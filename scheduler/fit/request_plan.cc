#include "scheduler/fit/request_plan.h"

#include "scheduler/fit/device_match.h"
#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/totals.h"

namespace berth::scheduler {

RequestPlan::RequestPlan(const RequestSpec& spec, const DeviceTypes& types) : spec_(spec), types_(types) {
  for (uint32_t guest = 0; guest < spec.cells.size(); ++guest) {
    CellNeed need = NeedOf(spec, guest);
    pins_ = pins_ || need.pinned + need.emulator > 0;
    bool found = false;
    for (CellKind& kind : kinds_) {
      if (found || !kind.need.SameAs(need)) continue;
      ++kind.count;
      found = true;
    }
    if (!found) kinds_.push_back({need, 1});
  }
  floating_ = NewFloating(spec);
  cells_are_alike_ =
      kinds_.size() == 1 && spec.pci.empty() && spec.physical_networks.empty() && !spec.tunneled;
  for (size_t r = 0; r < spec.pci.size() && r < kMaxPciRequests; ++r) {
    uint64_t bit = uint64_t{1} << r;
    demand_.push_back(spec.pci[r].count);
    total_demand_ += spec.pci[r].count;
    if (!spec.pci[r].from_port) alias_requests_ |= bit;
    AffinityPolicy policy = spec.pci[r].policy;
    auto allow = [&](Nearness nearness) { allowed_[static_cast<size_t>(nearness)] |= bit; };
    bool all = policy == AffinityPolicy::kPreferred || spec.cells.empty();
    allow(Nearness::kLocal);
    if (all || policy == AffinityPolicy::kSocket) allow(Nearness::kSocket);
    if (all) allow(Nearness::kElsewhere);
    if (all || policy == AffinityPolicy::kLegacy) allow(Nearness::kUnknown);
    uses_sockets_ = uses_sockets_ || (!all && policy == AffinityPolicy::kSocket);
  }
  quick_ = spec.pci.size() <= kMaxQuick && (spec.domains.empty() || WantsOneParent(spec));
}

uint64_t RequestPlan::Ask(uint32_t type) const {
  if (type >= serves_.size()) serves_.resize(type + 1, kUnasked);
  return serves_[type] = ServableRequests(types_.Example(type), spec_);
}

}  // namespace berth::scheduler
