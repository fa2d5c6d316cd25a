#include "scheduler/fit/fit.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "scheduler/fit/cell_fit.h"
#include "scheduler/fit/cell_sets.h"
#include "scheduler/fit/device_fit.h"
#include "scheduler/fit/device_match.h"
#include "scheduler/fit/device_pool.h"
#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/quick_fit.h"
#include "scheduler/fit/totals.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxCells = 64;

bool SmtMatches(const FitHost& host, SmtTrait wanted) {
  if (wanted == SmtTrait::kAny) return true;
  return host.smt == (wanted == SmtTrait::kRequired);
}

std::vector<uint32_t> Indexes(uint64_t set) {
  std::vector<uint32_t> out;
  for (; set != 0; set &= set - 1) out.push_back(static_cast<uint32_t>(std::countr_zero(set)));
  return out;
}

// What of a set of cells the devices can see: equal profiles give equal answers.
class Profiles {
 public:
  Profiles(const FitHost& host, const DevicePool& pool) : host_(host) {
    for (const ParentOptions& parent : pool.parents) {
      for (const auto& option : parent.options) {
        for (const DeviceClass& devices : option) Note(devices.node);
      }
    }
  }
  // Whether this set's profile is new.
  bool IsNew(uint64_t set, const Locality& locality) {
    uint64_t sockets = 0;
    for (size_t c = 0; c < host_.cells.size(); ++c) {
      bool shares = std::find(locality.socket_nodes.begin(), locality.socket_nodes.end(),
                              host_.cells[c].id) != locality.socket_nodes.end();
      if (shares) sockets |= uint64_t{1} << c;
    }
    std::pair profile(set & with_devices_, sockets & with_devices_);
    return seen_.insert(profile).second;
  }

 private:
  void Note(std::optional<NumaNode> node) {
    for (size_t c = 0; c < host_.cells.size() && node; ++c) {
      if (host_.cells[c].id == *node) with_devices_ |= uint64_t{1} << c;
    }
  }

  const FitHost& host_;
  uint64_t with_devices_ = 0;
  std::set<std::pair<uint64_t, uint64_t>> seen_;
};

class Solver {
 public:
  Solver(const FitHost& host, const RequestPlan& plan, const FitOptions& options)
      : host_(host), spec_(plan.spec()), plan_(plan), budget_(options.step_budget) {}

  FitResult Run() {
    FitResult result;
    QuickFit quick = FitQuickly(host_, plan_);
    result.verdict = quick.verdict;
    if (quick.verdict == Verdict::kUndecided) result.verdict = Decide(result.assignment);
    if (quick.verdict == Verdict::kFits) result.verdict = Complete(quick, result.assignment);
    result.steps = budget_.used();
    return result;
  }

  // The assignment for an answer that counts gave.
  Verdict Complete(const QuickFit& quick, Assignment& out) {
    if (spec_.cells.empty()) return DecideWithoutTopology(out);
    DeviceFit devices;
    if (!spec_.pci.empty()) {
      Locality locality = MakeLocality(host_, Indexes(quick.cells));
      devices = FitDevices(host_, spec_, BuildDevicePool(host_, spec_), locality, budget_);
      if (devices.verdict != Verdict::kFits) return devices.verdict;
    }
    std::vector<uint32_t> places;
    if (spec_.cells.size() == 1) {
      places.push_back(static_cast<uint32_t>(std::countr_zero(quick.cells)));
    } else {
      places = BuildMatrix(host_, spec_).Place(quick.cells).value();
    }
    Assemble(places, quick.waste, std::move(devices), out);
    return Verdict::kFits;
  }

  // The answer by search, where counts do not tell.
  FitResult RunSearch() {
    FitResult result;
    result.verdict = Decide(result.assignment);
    result.steps = budget_.used();
    return result;
  }

 private:
  Verdict Decide(Assignment& out) {
    if (!host_.can_run_guests || !SmtMatches(host_, spec_.smt)) return Verdict::kNo;
    if (spec_.disk_bytes > host_.disk_room_bytes) return Verdict::kNo;
    if (FindInTotals(host_, spec_).code != LackCode::kNothing) return Verdict::kNo;
    if (spec_.cells.empty()) return DecideWithoutTopology(out);
    CellMatrix matrix = BuildMatrix(host_, spec_);
    std::vector<CellSet> sets = ListCellSets(host_, spec_, matrix, budget_);
    if (budget_.exhausted()) return Verdict::kUndecided;
    if (sets.empty()) return Verdict::kNo;
    // Not always a proof where cells differ in how many shared CPUs pinning takes, or in page sizes: another
    // place within the set might do. Nothing that passes here is refused by the claim.
    bool skipped = DropSetsBeyondTotals(matrix, sets);
    Verdict no = skipped ? Verdict::kUndecided : Verdict::kNo;
    if (sets.empty()) return no;
    std::optional<CellSet> chosen;
    DeviceFit devices;
    if (spec_.pci.empty()) {
      chosen = sets.front();
    } else if (Verdict verdict = ChooseSet(sets, chosen, devices); verdict != Verdict::kFits) {
      return verdict == Verdict::kNo ? no : verdict;
    }
    Assemble(matrix.Place(chosen->set).value(), WasteOf(host_, spec_, chosen->set), std::move(devices), out);
    return Verdict::kFits;
  }

  Verdict DecideWithoutTopology(Assignment& out) {
    if (spec_.pci.empty()) return Verdict::kFits;
    for (const DomainChoice& domains : ListDomainChoices(host_, spec_, budget_)) {
      DeviceFit fit = FitDevices(host_, spec_, BuildDevicePool(host_, spec_, domains), Locality{}, budget_);
      out.devices = std::move(fit.devices);
      if (fit.verdict != Verdict::kNo) return fit.verdict;
    }
    return budget_.exhausted() ? Verdict::kUndecided : Verdict::kNo;
  }

  // Drops the sets on which the host would no longer carry the floating vCPUs, or the base-page memory. True
  // if some of them were dropped without a proof.
  bool DropSetsBeyondTotals(const CellMatrix& matrix, std::vector<CellSet>& sets) const {
    if (host_.rules == FitRules::kScenario) return false;
    bool overlap = PoolsOverlap(host_);
    bool ample = BaseMemoryIsAmple(host_, spec_);
    if (ample && !overlap) return false;
    bool unproved = false;
    std::erase_if(sets, [&](const CellSet& one) {
      std::vector<uint32_t> places = matrix.Place(one.set).value();
      Verdict memory = ample ? Verdict::kFits : CheckBaseMemory(host_, spec_, one.set, places);
      if (memory == Verdict::kNo) return true;
      bool dropped = memory == Verdict::kUndecided || (overlap && !FloatingHolds(places));
      unproved = unproved || dropped;
      return dropped;
    });
    return unproved;
  }

  bool FloatingHolds(const std::vector<uint32_t>& places) const {
    uint64_t taken = 0;
    for (uint32_t guest = 0; guest < places.size(); ++guest) {
      const FitCell& cell = host_.cells[places[guest]];
      taken += (TakenCpus(ChoosePins(cell, spec_, guest).value()) & cell.shared_cpus).Count();
    }
    return TotalsHold(host_, NewFloating(spec_), taken);
  }

  // The set and the domains with the fewest non-local devices; the first of those in the order of domains,
  // then of cost.
  Verdict ChooseSet(const std::vector<CellSet>& sets, std::optional<CellSet>& chosen, DeviceFit& best) {
    for (const DomainChoice& domains : ListDomainChoices(host_, spec_, budget_)) {
      Verdict verdict = ChooseSetWithin(domains, sets, chosen, best);
      if (verdict == Verdict::kUndecided) return verdict;
      if (chosen && best.non_local == 0) break;
    }
    if (budget_.exhausted()) return Verdict::kUndecided;
    return chosen ? Verdict::kFits : Verdict::kNo;
  }

  Verdict ChooseSetWithin(const DomainChoice& domains, const std::vector<CellSet>& sets,
                          std::optional<CellSet>& chosen, DeviceFit& best) {
    DevicePool pool = BuildDevicePool(host_, spec_, domains);
    uint32_t bound = 0;
    if (sets.size() > 2) {
      // A guest on all cells at once can do no worse than on any set: a shortage here is one everywhere.
      std::vector<uint32_t> all(host_.cells.size());
      for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
      DeviceFit fit = FitDevices(host_, spec_, pool, MakeLocality(host_, all), budget_);
      if (fit.verdict != Verdict::kFits) return fit.verdict;
      bound = fit.non_local;
    }
    Profiles profiles(host_, pool);
    for (const CellSet& one : sets) {
      Locality locality = MakeLocality(host_, Indexes(one.set));
      if (!profiles.IsNew(one.set, locality)) continue;
      DeviceFit fit = FitDevices(host_, spec_, pool, locality, budget_);
      if (fit.verdict == Verdict::kUndecided) return Verdict::kUndecided;
      if (fit.verdict == Verdict::kNo || (chosen && fit.non_local >= best.non_local)) continue;
      chosen = one;
      best = std::move(fit);
      if (best.non_local <= bound) break;
    }
    return chosen ? Verdict::kFits : Verdict::kNo;
  }

  // `places`: the host cell (an index) of each guest cell.
  void Assemble(const std::vector<uint32_t>& places, uint64_t waste, DeviceFit devices, Assignment& out) {
    out.waste = waste;
    out.non_local = devices.non_local;
    out.devices = std::move(devices.devices);
    out.cells.reserve(places.size());
    for (uint32_t guest = 0; guest < places.size(); ++guest) {
      const FitCell& cell = host_.cells[places[guest]];
      CellAssignment one;
      one.guest = guest;
      one.host = cell.id;
      one.page_size_bytes = CheckCell(host_, spec_, guest, places[guest]).page_size_bytes;
      CellPins pins = ChoosePins(cell, spec_, guest).value();
      one.pinning = std::move(pins.pinning);
      one.reserved = std::move(pins.reserved);
      out.cells.push_back(std::move(one));
    }
  }

  const FitHost& host_;
  const RequestSpec& spec_;
  const RequestPlan& plan_;
  StepBudget budget_;
};

Reason Undecided(const std::string& text) {
  return {"undecided", "", "", "host", text};
}

}  // namespace

FitResult Fit(const FitHost& host, const RequestSpec& spec, const FitOptions& options) {
  return Fit(host, RequestPlan(spec, *host.types), options);
}

FitResult Fit(const FitHost& host, const RequestPlan& plan, const FitOptions& options) {
  const RequestSpec& spec = plan.spec();
  FitResult result;
  if (host.cells.size() > kMaxCells || spec.pci.size() > kMaxPciRequests) {
    result.verdict = Verdict::kUndecided;
    result.reason = Undecided("more than 64 host cells or PCI requests are not decided by this version");
    return result;
  }
  Solver solver(host, plan, options);
  result = options.search_only ? solver.RunSearch() : solver.Run();
  if (result.verdict == Verdict::kUndecided)
    result.reason = Undecided("the step budget ran out before a proof");
  if (result.verdict == Verdict::kNo && options.explain) result.reason = ExplainNoFit(host, spec);
  return result;
}

QuickFit FitByCounts(const FitHost& host, const RequestPlan& plan) {
  QuickFit quick = FitQuickly(host, plan);
  if (quick.verdict != Verdict::kUndecided) return quick;
  FitOptions options;
  options.explain = false;
  options.search_only = true;
  FitResult fit = Fit(host, plan, options);
  return {fit.verdict, fit.assignment.non_local, fit.assignment.waste, 0};
}

}  // namespace berth::scheduler
