#include "scheduler/fit/quick_fit.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "scheduler/fit/cell_sets.h"
#include "scheduler/fit/quick_devices.h"
#include "scheduler/fit/totals.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxCells = 64;
constexpr size_t kFewClasses = 3;
constexpr uint32_t kMaxTries = 4096;  // choices of host cells; more are left to Fit

// Host cells that the request can not tell apart, but by cost.
struct CellClass {
  uint64_t kinds;     // kinds of guest cells that fit, as a set
  uint64_t networks;  // likewise of the networks that are tied to the cell
  uint32_t socket;
  uint32_t size;
  std::array<uint8_t, kMaxCells> members;  // by cost, then number
};

class Chooser {
 public:
  Chooser(const FitHost& host, const RequestPlan& plan) : host_(host), plan_(plan) {}

  QuickFit Run() {
    cells_ = host_.cells.size();
    wanted_ = static_cast<uint32_t>(plan_.spec().cells.size());
    if (wanted_ > cells_) return No();
    if (!FillMatrix()) return No();
    bool devices = !plan_.spec().pci.empty();
    if (devices && !devices_.Collect(host_, plan_)) return {};
    FillClasses();
    // Worth its cost only where many choices are open.
    if (devices && classes_ > kFewClasses) {
      auto bound = devices_.LowerBound(usable_, wanted_);
      if (!bound) return No();
      bound_ = *bound;
    }
    Try(0, wanted_, 0, 0);
    if (tries_ > kMaxTries) return {};
    if (best_.verdict != Verdict::kFits) return No();
    best_.waste = WasteOf(host_, plan_.spec(), best_.cells);
    return best_;
  }

 private:
  static QuickFit No() {
    QuickFit out;
    out.verdict = Verdict::kNo;
    return out;
  }

  // Which kinds of guest cells fit on each host cell; false: some fit on none.
  bool FillMatrix() {
    uint64_t fitting = 0;
    for (size_t c = 0; c < cells_; ++c) {
      uint64_t kinds = 0;
      for (size_t k = 0; k < plan_.kinds().size(); ++k) {
        if (CheckCell(host_, plan_.spec(), plan_.kinds()[k].need, host_.cells[c]).fits())
          kinds |= uint64_t{1} << k;
      }
      kinds_[c] = kinds;
      fitting |= kinds;
      if (kinds != 0) usable_ |= uint64_t{1} << c;
    }
    bool every_kind = fitting == (~uint64_t{0} >> (64 - plan_.kinds().size()));
    return every_kind && static_cast<uint32_t>(std::popcount(usable_)) >= wanted_;
  }

  void FillClasses() {
    const RequestSpec& spec = plan_.spec();
    FillCellWaste(host_, spec, cost_.data());
    AddUnevenness(host_, spec, cost_.data());
    if (!spec.physical_networks.empty() || spec.tunneled) networks_ = NetworkCells(host_, spec);
    for (uint64_t left = usable_; left != 0; left &= left - 1) {
      auto c = static_cast<size_t>(std::countr_zero(left));
      uint32_t socket = plan_.uses_sockets() ? host_.cells[c].socket.value_or(UINT32_MAX) : 0;
      uint64_t networks = 0;
      for (size_t n = 0; n < networks_.size(); ++n) networks |= (networks_[n] >> c & 1) << n;
      size_t k = 0;
      while (k < classes_) {
        const CellClass& one = class_[k];
        bool same = one.kinds == kinds_[c] && one.networks == networks && one.socket == socket &&
                    (spec.pci.empty() || devices_.AreAlike(one.members[0], c));
        if (same) break;
        ++k;
      }
      if (k == classes_) {
        CellClass& fresh = class_[classes_++];
        fresh.kinds = kinds_[c];
        fresh.networks = networks;
        fresh.socket = socket;
        fresh.size = 0;
      }
      Insert(class_[k], c);
    }
  }

  void Insert(CellClass& into, size_t cell) {
    uint32_t at = into.size++;
    while (at > 0 && cost_[into.members[at - 1]] > cost_[cell]) {
      into.members[at] = into.members[at - 1];
      --at;
    }
    into.members[at] = static_cast<uint8_t>(cell);
  }

  // How many cells to take of each class, from class number `k` on; always those with the least cost.
  void Try(size_t k, uint32_t left, uint64_t set, uint64_t cost) {
    if (tries_ > kMaxTries) return;
    if (left == 0) return Judge(set, cost);
    if (k == classes_) return;
    uint32_t after = 0;
    for (size_t rest = k + 1; rest < classes_; ++rest) after += class_[rest].size;
    const CellClass& one = class_[k];
    uint32_t most = std::min(one.size, left);
    uint32_t least = left > after ? left - after : 0;
    for (uint32_t i = 0; i < least && i < most; ++i) {
      set |= uint64_t{1} << one.members[i];
      cost += cost_[one.members[i]];
    }
    for (uint32_t take = least; take <= most; ++take) {
      Try(k + 1, left - take, set, cost);
      if (take == most) break;
      set |= uint64_t{1} << one.members[take];
      cost += cost_[one.members[take]];
    }
  }

  void Judge(uint64_t set, uint64_t cost) {
    ++tries_;
    bool cheaper = best_.verdict != Verdict::kFits || cost < best_cost_;
    if (best_.verdict == Verdict::kFits && best_.non_local <= bound_ && !cheaper) return;
    for (uint64_t tied : networks_) {
      if ((tied & set) == 0) return;
    }
    if (!CanPlace(set)) return;
    uint32_t non_local = 0;
    if (!plan_.spec().pci.empty()) {
      auto count = devices_.Count(set, SocketCells(set));
      if (!count) return;
      non_local = *count;
    }
    bool better = best_.verdict != Verdict::kFits || non_local < best_.non_local ||
                  (non_local == best_.non_local && cost < best_cost_);
    if (!better) return;
    best_ = {Verdict::kFits, non_local, 0, set};
    best_cost_ = cost;
  }

  uint64_t SocketCells(uint64_t set) const {
    if (!plan_.uses_sockets() || !host_.sockets_known) return 0;
    uint64_t out = 0;
    for (size_t c = 0; c < cells_; ++c) {
      for (uint64_t left = set; left != 0; left &= left - 1) {
        auto chosen = static_cast<size_t>(std::countr_zero(left));
        if (host_.cells[c].socket == host_.cells[chosen].socket) out |= uint64_t{1} << c;
      }
    }
    return out;
  }

  // Hall's theorem over sets of kinds: whatever kinds are taken together, enough cells of `set` hold one of
  // them.
  bool CanPlace(uint64_t set) const {
    size_t kinds = plan_.kinds().size();
    if (kinds == 1) return true;  // only usable cells are in the set
    if (kinds > 6) return PlaceByMatching(set);
    for (uint64_t some = 1; some < uint64_t{1} << kinds; ++some) {
      uint32_t need = 0;
      for (uint64_t left = some; left != 0; left &= left - 1)
        need += plan_.kinds()[static_cast<size_t>(std::countr_zero(left))].count;
      uint32_t have = 0;
      for (uint64_t left = set; left != 0; left &= left - 1)
        have += (kinds_[static_cast<size_t>(std::countr_zero(left))] & some) != 0 ? 1 : 0;
      if (have < need) return false;
    }
    return true;
  }

  bool PlaceByMatching(uint64_t set) const {
    CellMatrix matrix;
    for (size_t k = 0; k < plan_.kinds().size(); ++k) {
      uint64_t row = 0;
      for (size_t c = 0; c < cells_; ++c) row |= (kinds_[c] >> k & 1) << c;
      for (uint32_t i = 0; i < plan_.kinds()[k].count; ++i) matrix.hosts.push_back(row);
    }
    return matrix.Place(set).has_value();
  }

  const FitHost& host_;
  const RequestPlan& plan_;
  size_t cells_ = 0;
  uint32_t wanted_ = 0;
  uint64_t usable_ = 0;
  std::array<uint64_t, kMaxCells> kinds_;  // filled up to cells_
  std::array<uint64_t, kMaxCells> cost_;
  std::vector<uint64_t> networks_;
  std::array<CellClass, kMaxCells> class_;
  size_t classes_ = 0;
  QuickDevices devices_;
  uint32_t bound_ = 0;
  uint32_t tries_ = 0;
  QuickFit best_;  // without its waste
  uint64_t best_cost_ = 0;
};

// The same for most requests, see RequestPlan::cells_are_alike: as many cells as are asked for that fit,
// those with the least cost, then the lowest.
QuickFit ChooseAlike(const FitHost& host, const RequestPlan& plan) {
  const RequestSpec& spec = plan.spec();
  QuickFit out;
  std::array<uint64_t, kMaxCells> waste;
  FillCellWaste(host, spec, waste.data());
  std::array<uint64_t, kMaxCells> cost;
  std::copy_n(waste.begin(), host.cells.size(), cost.begin());
  AddUnevenness(host, spec, cost.data());
  uint64_t usable = 0;
  for (size_t c = 0; c < host.cells.size(); ++c) {
    if (CheckCell(host, spec, plan.kinds()[0].need, host.cells[c]).fits()) usable |= uint64_t{1} << c;
  }
  out.verdict =
      static_cast<size_t>(std::popcount(usable)) < spec.cells.size() ? Verdict::kNo : Verdict::kFits;
  for (size_t taken = 0; out.verdict == Verdict::kFits && taken < spec.cells.size(); ++taken) {
    size_t best = static_cast<size_t>(std::countr_zero(usable));
    for (uint64_t left = usable; left != 0; left &= left - 1) {
      auto c = static_cast<size_t>(std::countr_zero(left));
      if (cost[c] < cost[best]) best = c;
    }
    out.waste += waste[best];
    out.cells |= uint64_t{1} << best;
    usable &= ~(uint64_t{1} << best);
  }
  return out;
}

bool SmtMatches(const FitHost& host, SmtTrait wanted) {
  return wanted == SmtTrait::kAny || host.smt == (wanted == SmtTrait::kRequired);
}

}  // namespace

QuickFit FitQuickly(const FitHost& host, const RequestPlan& plan) {
  const RequestSpec& spec = plan.spec();
  QuickFit out;
  if (!plan.quick() || spec.physical_networks.size() > 63 || host.cells.size() > kMaxCells ||
      plan.kinds().size() > 63)
    return out;
  if (spec.disk_bytes > host.disk_room_bytes) {
    out.verdict = Verdict::kNo;
    return out;
  }
  if (host.rules == FitRules::kClaims) {
    if (plan.pins() && host.pools_overlap) return out;
    if (!BaseMemoryIsAmple(host, spec)) {
      // Only a choice of page sizes could spare base pages.
      using Kind = PageRequest::Kind;
      bool all_of_it =
          spec.cells.empty() || spec.pages.kind == Kind::kNotAsked || spec.pages.kind == Kind::kSmall;
      if (all_of_it) out.verdict = Verdict::kNo;
      return out;
    }
    if (!TotalsHold(host, plan.floating(), 0) || !host.can_run_guests) {
      out.verdict = Verdict::kNo;
      return out;
    }
  }
  if (!host.can_run_guests || !SmtMatches(host, spec.smt)) {
    out.verdict = Verdict::kNo;
    return out;
  }
  if (plan.cells_are_alike()) return ChooseAlike(host, plan);
  if (!spec.cells.empty()) return Chooser(host, plan).Run();
  if (!spec.pci.empty()) {
    QuickDevices devices;
    if (!devices.Collect(host, plan)) return out;
    out.verdict = devices.Suffice() ? Verdict::kFits : Verdict::kNo;
    return out;
  }
  out.verdict = Verdict::kFits;
  return out;
}

}  // namespace berth::scheduler
