#include "scheduler/service/candidates.h"

#include <algorithm>
#include <functional>
#include <string>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

// Few states are worth remembering in a small fleet, and a quarter of the hosts in a large one.
size_t MostStates(size_t slots) {
  return std::max<size_t>(1024, slots / 4);
}

// Where more than one in so many hosts changed, the whole tournament is played again.
constexpr size_t kFew = 8;

// Hosts lie anywhere in memory: those that come so many later are fetched meanwhile.
constexpr size_t kAhead = 4;

void FetchBeside(const FleetPage* page, size_t slot) {
  if (page == nullptr) return;
  __builtin_prefetch(&page->digests[slot % FleetPage::kHosts]);
}

// What a look at all hosts reads of a page.
void FetchPage(const FleetPage* page) {
  if (page == nullptr) return;
  const auto* columns = reinterpret_cast<const char*>(page);
  for (size_t at = 0; at < offsetof(FleetPage, digests); at += 64) __builtin_prefetch(columns + at);
}

void FetchView(const HostView* view) {
  if (view != nullptr) __builtin_prefetch(&view->fit);
}

void FetchFit(const HostView* view) {
  if (view == nullptr) return;
  const auto* cells = reinterpret_cast<const char*>(view->fit.cells.data());
  size_t bytes = std::min<size_t>(view->fit.cells.size() * sizeof(FitCell), 1024);
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(cells + at);
  __builtin_prefetch(view->fit.groups.data());
}

const FilterSet& FiltersOf(const HostPolicy* policy) {
  static const FilterSet none;
  return policy == nullptr ? none : policy->filters;
}

}  // namespace

Candidates::Candidates(const RequestSpec& spec, const HostPolicy* policy)
    : spec_(spec),
      plan_(spec_, DeviceTypes::OfProcess()),
      needs_(spec_),
      weighers_(policy == nullptr ? WeigherSet() : policy->weighers.Prepared(spec_)),
      filters_(FiltersOf(policy), spec_) {}

bool Candidates::Refused(const FleetPage& page, size_t slot) {
  if (!banned_.empty() && std::binary_search(banned_.begin(), banned_.end(), slot)) return true;
  if (!filters_.any()) return false;
  const FleetPage::ForFilters& host = page.filtered[slot % FleetPage::kHosts];
  if (host.facts == nullptr) return false;
  if (host == filtered_) return !kept_;
  filtered_ = host;
  kept_ = filters_.Keeps({*host.facts, host.instances, host.failures, host.backing_off != 0});
  return !kept_;
}

Score Candidates::Worth(const FleetPage& page, size_t slot, bool& by_state) const {
  const HostView& view = *page.hosts[slot % FleetPage::kHosts];
  QuickFit fit = FitQuickly(view.fit, plan_);
  // The search may depend on more than the state.
  by_state = fit.verdict != Verdict::kUndecided;
  if (fit.verdict == Verdict::kUndecided) fit = FitByCounts(view.fit, plan_);
  if (fit.verdict == Verdict::kUndecided) return kUndecidedScore;
  return fit.verdict == Verdict::kFits ? ScoreOf(view, spec_, fit, &weighers_) : kNoScore;
}

Score Candidates::Ask(const FleetPage* page, size_t slot) {
  if (page == nullptr || page->hosts[slot % FleetPage::kHosts] == nullptr || Refused(*page, slot))
    return kNoScore;
  ++evaluated_;
  bool by_state = false;
  return Worth(*page, slot, by_state);
}

Score Candidates::AskOnce(const FleetPage* page, size_t slot, StateMemo& memo) {
  if (page == nullptr) return kNoScore;
  // Weighers may read more than the state.
  const uint64_t state = weighers_.empty() ? page->states[slot % FleetPage::kHosts] : 0;
  if (state != 0) {
    if (const uint64_t* known = memo.Find(state)) {
      ++evaluated_;
      return *known == kNoScore || Refused(*page, slot) ? kNoScore : *known;
    }
  }
  const FitDigest& digest = page->digests[slot % FleetPage::kHosts];
  if (digest.present == 0) return kNoScore;
  Score score = kNoScore;
  bool by_state = true;
  if (!needs_.Exceed(digest)) {
    if (Refused(*page, slot)) return kNoScore;
    score = Worth(*page, slot, by_state);
  }
  ++evaluated_;
  if (state != 0 && by_state) memo.Keep(state, score, MostStates(fleet_->slots()));
  return score;
}

bool Candidates::Enter(size_t slot, Score now) {
  const Score before = order_.score(slot);
  if (now == before) return false;
  undecided_ -= before == kUndecidedScore ? 1 : 0;
  undecided_ += now == kUndecidedScore ? 1 : 0;
  order_.SetScore(slot, now);
  return true;
}

bool Candidates::ListChanges() {
  // A host that changed several times is looked at once. Bits are taken back below: the set is all zeros
  // between calls.
  static thread_local std::vector<uint64_t> set;
  const size_t slots = fleet_->slots();
  set.resize(std::max(set.size(), slots / 64 + 1));
  uint64_t* const seen = set.data();
  changes_.clear();
  bool known = fleet_->ForEachChange(mark_, [&](size_t slot, bool renamed) {
    // What was overtaken may name a slot of a later picture.
    if (slot >= slots) return;
    const uint64_t bit = uint64_t{1} << slot % 64;
    if ((seen[slot / 64] & bit) != 0 && !renamed) return;
    seen[slot / 64] |= bit;
    changes_.push_back({static_cast<uint32_t>(slot), renamed});
  });
  for (const Change& change : changes_) seen[change.slot / 64] = 0;
  return known;
}

void Candidates::LookAtAll() {
  const size_t slots = fleet_->slots();
  order_.Resize(slots);
  undecided_ = 0;
  StateMemo memo;
  for (size_t first = 0; first < slots; first += FleetPage::kHosts) {
    FetchPage(fleet_->PageOf(first + kAhead * FleetPage::kHosts));
    const FleetPage* page = fleet_->PageOf(first);
    const size_t end = std::min(slots, first + FleetPage::kHosts);
    for (size_t slot = first; slot < end; ++slot) {
      const Score score = AskOnce(page, slot, memo);
      undecided_ += score == kUndecidedScore ? 1 : 0;
      order_.SetScore(slot, score);
    }
  }
  order_.Rebuild(*fleet_);
}

void Candidates::LookAtChanges() {
  replayed_.clear();
  open_.clear();
  auto enter = [&](const Change& change, Score score) {
    if (Enter(change.slot, score) || change.renamed) replayed_.push_back({change.slot, change.renamed});
  };
  // Most hosts that changed are full: one look beside the hosts is enough for those.
  for (size_t i = 0; i < changes_.size(); ++i) {
    if (i + kAhead < changes_.size()) {
      const size_t next = changes_[i + kAhead].slot;
      FetchBeside(fleet_->PageOf(next), next);
    }
    const Change& change = changes_[i];
    const FleetPage* page = fleet_->PageOf(change.slot);
    const FitDigest* digest = page == nullptr ? nullptr : &page->digests[change.slot % FleetPage::kHosts];
    if (digest != nullptr && !needs_.Exceed(*digest)) {
      open_.push_back(change);
      FetchView(fleet_->Peek(change.slot));
      continue;
    }
    evaluated_ += digest == nullptr ? 0 : digest->present;
    enter(change, kNoScore);
  }
  for (size_t i = 0; i < open_.size(); ++i) {
    if (i + kAhead < open_.size()) FetchFit(fleet_->Peek(open_[i + kAhead].slot));
    enter(open_[i], Ask(fleet_->PageOf(open_[i].slot), open_[i].slot));
  }
  if (replayed_.size() > order_.size() / kFew) return order_.Rebuild(*fleet_);
  order_.Replay(*fleet_, replayed_);
}

void Candidates::Follow() {
  // What the filters said is of the picture asked last.
  filtered_ = {};
  if (fleet_->slots() == order_.size() && ListChanges()) {
    for (size_t slot : bans_to_enter_) {
      if (slot < order_.size()) changes_.push_back({static_cast<uint32_t>(slot), false});
    }
    LookAtChanges();
  } else {
    LookAtAll();
  }
  bans_to_enter_.clear();
  mark_ = fleet_->mark();
}

HostViewPtr Candidates::Best(const Fleet& fleet) {
  fleet_ = &fleet;
  Follow();
  fleet_ = nullptr;
  const uint32_t slot = order_.Best();
  return slot == Tournament::kNobody ? nullptr : fleet.At(slot);
}

FitResult Candidates::PlaceOn(const HostView& host) const {
  FitOptions options;
  options.explain = false;
  return Fit(host.fit, plan_, options);
}

HostViewPtr Candidates::BestExcept(const Fleet& fleet, const std::vector<size_t>& excluded) {
  fleet_ = &fleet;
  Follow();
  fleet_ = nullptr;
  const uint32_t slot = order_.BestExcept(fleet, excluded);
  return slot == Tournament::kNobody ? nullptr : fleet.At(slot);
}

void Candidates::Ban(size_t slot) {
  auto at = std::lower_bound(banned_.begin(), banned_.end(), slot);
  if (at != banned_.end() && *at == slot) return;
  banned_.insert(at, slot);
  bans_to_enter_.push_back(slot);
}

size_t Candidates::MemoryBytes() const {
  return order_.MemoryBytes();
}

RequestSpec ClassOf(const RequestSpec& spec) {
  RequestSpec out = spec;
  for (PciRequest& request : out.pci) request.name.clear();
  return out;
}

bool SameClass(const RequestSpec& a, const RequestSpec& b) {
  // All fields by name: one more does not compile until it is compared here.
  const auto& [vcpus, memory, disk, cells, cpu, thread, emulator, pages, smt, pci, isolate, domains,
               encryption, swiotlb, viommu, networks, tunneled, host] = a;
  if (vcpus != b.vcpus || memory != b.memory_bytes || disk != b.disk_bytes || cpu != b.cpu_policy ||
      thread != b.thread_policy || emulator != b.emulator_policy || pages != b.pages || smt != b.smt ||
      isolate != b.isolate_groups || encryption != b.encryption || swiotlb != b.swiotlb_bytes ||
      viommu != b.viommu || tunneled != b.tunneled)
    return false;
  auto same_but_name = [](const PciRequest& one, const PciRequest& other) {
    const auto& [name, from_port, count, policy, alternatives] = one;
    return from_port == other.from_port && count == other.count && policy == other.policy &&
           alternatives == other.alternatives;
  };
  return cells == b.cells && domains == b.domains && networks == b.physical_networks && host == b.host &&
         std::equal(pci.begin(), pci.end(), b.pci.begin(), b.pci.end(), same_but_name);
}

uint64_t HashOf(const RequestSpec& spec) {
  uint64_t hash = 0x9e3779b97f4a7c15;
  auto mix = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
  };
  auto text = [&mix](const std::string& value) { mix(std::hash<std::string>()(value)); };
  mix(spec.vcpus);
  mix(spec.memory_bytes);
  for (const GuestCell& cell : spec.cells) {
    mix(cell.memory_bytes);
    mix(cell.vcpus.Count());
    mix(cell.pinned.Count());
  }
  mix(static_cast<uint64_t>(spec.cpu_policy) | static_cast<uint64_t>(spec.thread_policy) << 8 |
      static_cast<uint64_t>(spec.emulator_policy) << 16 | static_cast<uint64_t>(spec.pages.kind) << 24 |
      static_cast<uint64_t>(spec.encryption) << 32 | uint64_t{spec.isolate_groups} << 40);
  mix(spec.pages.size_bytes);
  for (const PciRequest& request : spec.pci) {
    mix(request.count);
    mix(static_cast<uint64_t>(request.policy));
    for (const DeviceMatch& match : request.alternatives) {
      text(match.vendor_id);
      text(match.product_id);
      text(match.resource_class);
    }
  }
  for (const std::string& name : spec.physical_networks) text(name);
  mix(spec.disk_bytes);
  for (const std::string& trait : spec.host.traits) text(trait);
  text(spec.host.availability_zone);
  text(spec.host.project);
  text(spec.host.flavor);
  return hash;
}

void CandidateCache::ForgetOldest() {
  auto oldest = std::prev(order_.end());
  auto [first, last] = classes_.equal_range(HashOf((*oldest)->candidates.spec()));
  for (auto it = first; it != last; ++it) {
    if (it->second != oldest) continue;
    classes_.erase(it);
    break;
  }
  order_.pop_back();
}

std::shared_ptr<CandidateCache::Class> CandidateCache::Find(const RequestSpec& spec) {
  uint64_t hash = HashOf(spec);  // names are not in it
  std::lock_guard lock(mutex_);
  ++asked_;
  auto [from, to] = classes_.equal_range(hash);
  auto known = std::find_if(
      from, to, [&](const auto& one) { return SameClass((*one.second)->candidates.spec(), spec); });
  if (known != to) {
    ++hits_;
    order_.splice(order_.begin(), order_, known->second);
  } else {
    ++misses_;
    order_.push_front(std::make_shared<Class>(ClassOf(spec), policy_));
    classes_.emplace(hash, order_.begin());
  }
  order_.front()->asked = asked_;
  while (order_.size() > max_classes_ || asked_ - order_.back()->asked > max_idle_) ForgetOldest();
  return order_.front();
}

CandidateCache::Answer CandidateCache::Best(const std::shared_ptr<const Fleet>& fleet,
                                            const RequestSpec& spec, const std::vector<size_t>& excluded) {
  return Ask(fleet, spec, excluded, false);
}

CandidateCache::Answer CandidateCache::Choose(const std::shared_ptr<const Fleet>& fleet,
                                              const RequestSpec& spec, const std::vector<size_t>& excluded) {
  return Ask(fleet, spec, excluded, true);
}

CandidateCache::Answer CandidateCache::Ask(const std::shared_ptr<const Fleet>& fleet, const RequestSpec& spec,
                                           const std::vector<size_t>& excluded, bool place) {
  std::shared_ptr<Class> one = Find(spec);
  std::lock_guard lock(one->mutex);
  Answer answer;
  answer.host =
      excluded.empty() ? one->candidates.Best(*fleet) : one->candidates.BestExcept(*fleet, excluded);
  answer.undecided = one->candidates.undecided();
  if (place && answer.host != nullptr) answer.fit = one->candidates.PlaceOn(*answer.host);
  return answer;
}

CandidateCache::Totals CandidateCache::totals() const {
  std::lock_guard lock(mutex_);
  return {order_.size(), hits_, misses_};
}

}  // namespace berth::scheduler
