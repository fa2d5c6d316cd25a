#include "scheduler/service/candidates.h"

#include <algorithm>
#include <functional>
#include <string>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;

// Few states are worth remembering in a small fleet, and a quarter of the hosts in a large one.
size_t MostStates(size_t slots) {
  return std::max<size_t>(1024, slots / 4);
}

constexpr size_t kAhead = 4;

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

bool Candidates::FiltersKeep(size_t slot) {
  auto host = fleet_->FilteredAt(slot);
  return !host || filters_.Keeps(*host);
}

Score Candidates::Ask(size_t slot, StateMemo* memo) {
  // Most hosts that changed are full: one look beside the hosts is enough for those.
  if (const FitDigest& digest = fleet_->DigestOf(slot); needs_.Exceed(digest)) {
    evaluated_ += digest.present;
    return kNoScore;
  }
  if (!banned_.empty() && std::binary_search(banned_.begin(), banned_.end(), slot)) return kNoScore;
  // Facts that are known are a look at one number, and counts stand beside the hosts: no host is touched.
  if (filters_.any() && (filters_.reads_hosts() || !filters_.Kept(fleet_->FactsOf(slot))) &&
      !FiltersKeep(slot))
    return kNoScore;
  // Weighers may read more than the state.
  if (!weighers_.empty()) memo = nullptr;
  uint64_t state = memo != nullptr ? fleet_->StateOf(slot) : 0;
  if (state != 0) {
    if (const uint64_t* known = memo->Find(state)) {
      ++evaluated_;
      return *known;
    }
  }
  const HostView* view = fleet_->Peek(slot);
  if (view == nullptr) return kNoScore;
  ++evaluated_;
  QuickFit fit = FitQuickly(view->fit, plan_);
  // The search may depend on more than the state.
  bool by_state = state != 0 && fit.verdict != Verdict::kUndecided;
  if (fit.verdict == Verdict::kUndecided) fit = FitByCounts(view->fit, plan_);
  if (fit.verdict == Verdict::kUndecided) return kUndecided;
  Score score = fit.verdict == Verdict::kFits ? ScoreOf(*view, spec_, fit, &weighers_) : kNoScore;
  if (by_state) memo->Keep(state, score, MostStates(fleet_->slots()));
  return score;
}

bool Candidates::Look(size_t slot, StateMemo* memo) {
  Score before = scores_[slot];
  Score now = Ask(slot, memo);
  if (now == before) return false;
  undecided_ -= before == kUndecided ? 1 : 0;
  undecided_ += now == kUndecided ? 1 : 0;
  scores_[slot] = now;
  return true;
}

uint32_t Candidates::Winner(size_t level, size_t node) const {
  size_t below = level == 0 ? scores_.size() : levels_[level - 1].size();
  uint32_t best = kNobody;
  Score best_score = kUndecided;
  size_t end = std::min(below, (node + 1) * kFan);
  for (size_t i = node * kFan; i < end; ++i) {
    uint32_t one = level == 0 ? static_cast<uint32_t>(i) : levels_[level - 1][i];
    if (one == kNobody) continue;
    Score score = scores_[one];
    if (score > best_score || score >= kUndecided) continue;
    if (score == best_score && !fleet_->NameBefore(one, best)) continue;
    best = one;
    best_score = score;
  }
  return best;
}

void Candidates::Update(size_t slot) {
  size_t node = slot;
  const Score score = scores_[slot];
  for (size_t level = 0; level < levels_.size(); ++level) {
    node /= kFan;
    uint32_t before = levels_[level][node];
    // Scores are renewed already: one that is worse than the winner changes nothing here. If the winner got
    // worse itself, its own update plays the node again.
    if (before != slot && before != kNobody && scores_[before] < score) return;
    uint32_t now = Winner(level, node);
    levels_[level][node] = now;
    // One that neither was nor is the best here is not above either.
    if (now == before && now != slot) return;
  }
}

void Candidates::Rebuild() {
  levels_.clear();
  size_t below = scores_.size();
  do {
    below = (below + kFan - 1) / kFan;
    levels_.emplace_back(below, kNobody);
    for (size_t node = 0; node < below; ++node) levels_.back()[node] = Winner(levels_.size() - 1, node);
  } while (below > 1);
}

bool Candidates::ListChanges() {
  // A host that changed several times is looked at once. Bits are taken back below: the set is all zeros
  // between calls.
  static thread_local std::vector<uint64_t> seen;
  size_t slots = fleet_->slots();
  seen.resize(std::max(seen.size(), slots / 64 + 1));
  changed_.clear();
  bool known = fleet_->ForEachChange(mark_, [&](size_t slot, bool renamed) {
    // What was overtaken may name a slot of a later picture.
    if (slot >= slots) return;
    if (renamed) changed_.push_back({static_cast<uint32_t>(slot), true});
    uint64_t bit = uint64_t{1} << slot % 64;
    if ((seen[slot / 64] & bit) != 0) return;
    seen[slot / 64] |= bit;
    if (!renamed) changed_.push_back({static_cast<uint32_t>(slot), false});
  });
  for (const Change& change : changed_) seen[change.slot / 64] = 0;
  return known;
}

void Candidates::Follow() {
  size_t slots = fleet_->slots();
  bool all = slots != scores_.size() || !ListChanges();
  if (all) {
    for (size_t slot = slots; slot < scores_.size(); ++slot)
      undecided_ -= scores_[slot] == kUndecided ? 1 : 0;
    scores_.resize(slots, kNoScore);
    StateMemo memo;
    for (size_t slot = 0; slot < slots; ++slot) Look(slot, &memo);
  } else {
    // Hosts lie anywhere in memory: those that come next are fetched meanwhile.
    for (size_t i = 0; i < changed_.size(); ++i) {
      if (i + 2 * kAhead < changed_.size()) FetchView(fleet_->Peek(changed_[i + 2 * kAhead].slot));
      if (i + kAhead < changed_.size()) FetchFit(fleet_->Peek(changed_[i + kAhead].slot));
      changed_[i].must_update = Look(changed_[i].slot, nullptr) || changed_[i].must_update;
    }
  }
  for (size_t slot : bans_to_enter_) {
    if (slot < slots && !all) changed_.push_back({static_cast<uint32_t>(slot), Look(slot, nullptr)});
  }
  bans_to_enter_.clear();
  mark_ = fleet_->mark();
  if (all || changed_.size() > slots / 8) return Rebuild();
  // Winners are found with all scores as they are now.
  for (const Change& change : changed_) {
    if (change.must_update) Update(change.slot);
  }
}

HostViewPtr Candidates::Best(const Fleet& fleet) {
  fleet_ = &fleet;
  Follow();
  fleet_ = nullptr;
  uint32_t slot = levels_.back().empty() ? kNobody : levels_.back()[0];
  return slot == kNobody ? nullptr : fleet.At(slot);
}

FitResult Candidates::PlaceOn(const HostView& host) const {
  FitOptions options;
  options.explain = false;
  return Fit(host.fit, plan_, options);
}

HostViewPtr Candidates::BestExcept(const Fleet& fleet, const std::vector<size_t>& excluded) {
  fleet_ = &fleet;
  Follow();
  // Parts of the tournament, the one with the best winner first; one whose winner is excluded is taken apart.
  struct Part {
    uint32_t winner;
    size_t level;  // levels_.size() stands for the slot itself
    size_t node;
  };
  auto worse = [&](const Part& a, const Part& b) {
    Score one = scores_[a.winner];
    Score other = scores_[b.winner];
    if (one != other) return one > other;
    return a.winner != b.winner && fleet_->NameBefore(b.winner, a.winner);
  };
  const size_t leaf = levels_.size();
  std::vector<Part> parts;
  auto push = [&](uint32_t winner, size_t level, size_t node) {
    if (winner == kNobody || scores_[winner] >= kUndecided) return;
    parts.push_back({winner, level, node});
    std::push_heap(parts.begin(), parts.end(), worse);
  };
  if (!levels_.back().empty()) push(levels_.back()[0], levels_.size() - 1, 0);
  HostViewPtr found;
  while (!parts.empty()) {
    std::pop_heap(parts.begin(), parts.end(), worse);
    Part part = parts.back();
    parts.pop_back();
    if (!std::binary_search(excluded.begin(), excluded.end(), size_t{part.winner})) {
      found = fleet.At(part.winner);
      break;
    }
    if (part.level == leaf) continue;
    size_t below = part.level == 0 ? scores_.size() : levels_[part.level - 1].size();
    size_t end = std::min(below, (part.node + 1) * kFan);
    for (size_t i = part.node * kFan; i < end; ++i) {
      if (part.level == 0) {
        push(static_cast<uint32_t>(i), leaf, i);
      } else {
        push(levels_[part.level - 1][i], part.level - 1, i);
      }
    }
  }
  fleet_ = nullptr;
  return found;
}

void Candidates::Ban(size_t slot) {
  auto at = std::lower_bound(banned_.begin(), banned_.end(), slot);
  if (at != banned_.end() && *at == slot) return;
  banned_.insert(at, slot);
  bans_to_enter_.push_back(slot);
}

size_t Candidates::MemoryBytes() const {
  size_t bytes = scores_.capacity() * sizeof(Score);
  for (const auto& level : levels_) bytes += level.capacity() * sizeof(uint32_t);
  return bytes;
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
