#include "scheduler/service/candidates.h"

#include <algorithm>
#include <functional>
#include <string>

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

}  // namespace

Candidates::Candidates(const RequestSpec& spec) : spec_(spec), plan_(spec_, DeviceTypes::OfProcess()) {}

Score Candidates::Ask(size_t slot, StateMemo* memo) {
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
  if (fit.verdict == Verdict::kUndecided) fit = FitView(*view, plan_);
  if (fit.verdict == Verdict::kUndecided) return kUndecided;
  Score score = fit.verdict == Verdict::kFits ? ScoreOf(*view, spec_, fit) : kNoScore;
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
  for (size_t level = 0; level < levels_.size(); ++level) {
    node /= kFan;
    uint32_t before = levels_[level][node];
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
  RequestSpec key = ClassOf(spec);
  uint64_t hash = HashOf(key);
  std::lock_guard lock(mutex_);
  ++asked_;
  auto [from, to] = classes_.equal_range(hash);
  auto known =
      std::find_if(from, to, [&](const auto& one) { return (*one.second)->candidates.spec() == key; });
  if (known != to) {
    ++hits_;
    order_.splice(order_.begin(), order_, known->second);
  } else {
    ++misses_;
    order_.push_front(std::make_shared<Class>(key));
    classes_.emplace(hash, order_.begin());
  }
  order_.front()->asked = asked_;
  while (order_.size() > max_classes_ || asked_ - order_.back()->asked > max_idle_) ForgetOldest();
  return order_.front();
}

CandidateCache::Answer CandidateCache::Best(const std::shared_ptr<const Fleet>& fleet,
                                            const RequestSpec& spec) {
  std::shared_ptr<Class> one = Find(spec);
  std::lock_guard lock(one->mutex);
  Answer answer;
  answer.host = one->candidates.Best(*fleet);
  answer.undecided = one->candidates.undecided();
  return answer;
}

CandidateCache::Totals CandidateCache::totals() const {
  std::lock_guard lock(mutex_);
  return {order_.size(), hits_, misses_};
}

}  // namespace berth::scheduler
