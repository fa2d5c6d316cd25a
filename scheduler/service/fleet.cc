#include "scheduler/service/fleet.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/block_pool.h"
#include "placement/model/capacity.h"

namespace berth::scheduler {
namespace {

// Rebuilds what follows from report and usage.
void Derive(HostView& view) {
  view.fit = FromHost(*view.report, view.usage);
  view.state = FitStates::OfProcess().Of(view.fit);
}

// Whether the claim holds CPUs or devices that are counted already.
bool IsContested(const placement::Claim& claim, const placement::HostUsage& usage) {
  for (const placement::CellBinding& binding : claim.cells) {
    const CpuSet& taken = placement::UsageOfCell(usage, binding.host_cell).pinned_cpus;
    if (taken.Intersects(binding.reserved)) return true;
    for (auto [guest, host] : binding.pinning) {
      if (taken.Contains(host)) return true;
    }
  }
  return std::any_of(claim.devices.begin(), claim.devices.end(), [&](const placement::DeviceBinding& device) {
    return usage.devices.contains(device.address);
  });
}

void CountIn(const placement::Claim& claim, HostView& view) {
  view.contested = view.contested || IsContested(claim, view.usage);
  placement::AddClaim(claim, view.usage);
}

// The view's claims hold `claim` no longer.
void CountOut(const placement::Claim& claim, HostView& view) {
  if (!view.contested) return placement::RemoveClaim(claim, view.usage);
  view.usage = {};
  view.contested = false;
  view.claims.ForEach([&](const placement::Claim& one) { CountIn(one, view); });
}

// Of parts of pictures, which come and go with each change.
template <class T, class... Args>
std::shared_ptr<T> MakePart(Args&&... args) {
  return std::allocate_shared<T>(PoolAllocator<T>(), std::forward<Args>(args)...);
}

uint64_t HashOf(const Uuid& consumer) {
  return std::hash<Uuid>()(consumer);
}

uint64_t HashOf(std::string_view name) {
  return std::hash<std::string_view>()(name);
}

// The view that comes after `old`, without what Derive makes: that is larger than all the rest.
std::shared_ptr<HostView> Successor(const HostView& old) {
  auto view = MakePart<HostView>();
  view->report = old.report;
  view->generation = old.generation;
  view->told = old.told;
  view->claims = old.claims;
  view->usage = old.usage;
  view->contested = old.contested;
  view->ahead = old.ahead;
  view->facts = old.facts;
  view->failures = old.failures;
  view->backoff_until_ms = old.backoff_until_ms;
  view->backing_off = old.backing_off;
  return view;
}

bool SameName(const HostView* one, const HostView* other) {
  if (one == nullptr || other == nullptr) return one == other;
  return one->report == other->report || one->report->name == other->report->name;
}

// Whether the slots hold hosts and the one's name comes before the other's.
bool ComesBefore(const FleetPage& page, size_t one, size_t other) {
  if (page.hosts[one] == nullptr || page.hosts[other] == nullptr) return false;
  if (page.names[one] != page.names[other]) return page.names[one] < page.names[other];
  return page.hosts[one]->report->name < page.hosts[other]->report->name;
}

// An event, or the whole host, has been told with this generation.
void Tell(HostView& view, uint64_t generation) {
  view.told = generation;
  view.ahead = generation < view.generation;
  view.generation = std::max(view.generation, generation);
}

}  // namespace

HostViewPtr Fleet::At(size_t slot) const {
  const FleetPage* page = PageOf(slot);
  return page == nullptr ? nullptr : page->hosts[slot % FleetPage::kHosts];
}

void Fleet::Put(FleetPage& page, size_t within, HostViewPtr host, bool renamed) {
  page.states[within] = host != nullptr && host->state != nullptr ? host->state->number : 0;
  page.digests[within] = host != nullptr ? DigestOf(host->fit) : FitDigest{};
  page.filtered[within] = {};
  if (host != nullptr && host->facts != nullptr)
    page.filtered[within] = {host->facts.get(), static_cast<uint32_t>(host->claims.size()), host->failures,
                             host->backing_off ? 1U : 0U};
  page.hosts[within] = std::move(host);
  if (!renamed) return;
  const HostView* named = page.hosts[within].get();
  page.names[within] = named != nullptr ? FleetPage::HeadOf(named->report->name) : FleetPage::NameHead{};
  for (size_t i = 0; i < FleetPage::kHosts; ++i) {
    page.ranks[i] = 0;
    for (size_t other = 0; other < FleetPage::kHosts; ++other)
      page.ranks[i] += ComesBefore(page, other, i) ? 1 : 0;
  }
}

std::shared_ptr<const Fleet> Fleet::With(size_t slot, HostViewPtr host) const {
  auto next = MakePart<Fleet>(*this);
  next->slots_ = std::max(slots_, slot + 1);
  size_t chapters = (next->slots_ + kChapterHosts - 1) / kChapterHosts;
  while (next->chapters_.size() < chapters) next->chapters_.push_back(MakePart<const Chapter>());
  auto chapter = MakePart<Chapter>(*next->chapters_[slot / kChapterHosts]);
  std::shared_ptr<const FleetPage>& old = (*chapter)[slot % kChapterHosts / FleetPage::kHosts];
  auto page = old == nullptr ? MakePart<FleetPage>() : MakePart<FleetPage>(*old);
  size_t within = slot % FleetPage::kHosts;
  bool renamed = !SameName(page->hosts[within].get(), host.get());
  Put(*page, within, std::move(host), renamed);
  old = std::move(page);
  next->chapters_[slot / kChapterHosts] = std::move(chapter);
  next->number_ = number_ + 1;
  if (!journal_->Append(number_, slot, renamed)) {
    // Another picture follows this one already: the new one begins a journal of its own.
    next->journal_ = std::make_shared<ChangeJournal>();
    next->number_ = 0;
  }
  return next;
}

HostViewPtr Mirror::ViewOf(const State& state, const Uuid& host) {
  auto slot = state.slots.find(host);
  return slot == state.slots.end() ? nullptr : state.fleet->At(slot->second);
}

void Mirror::SetView(State& state, const Uuid& host, HostViewPtr view) {
  auto slot = state.slots.find(host);
  if (slot == state.slots.end()) {
    size_t fresh = state.slots.size() + state.free_slots.size();
    if (!state.free_slots.empty()) {
      fresh = state.free_slots.back();
      state.free_slots.pop_back();
    }
    slot = state.slots.emplace(host, fresh).first;
  }
  state.fleet = state.fleet->With(slot->second, std::move(view));
}

void Mirror::RemoveHost(State& state, const Uuid& host) {
  auto slot = state.slots.find(host);
  if (slot == state.slots.end()) return;
  if (HostViewPtr view = state.fleet->At(slot->second)) {
    view->claims.ForEach([&](const placement::Claim& claim) { Leave(state, claim); });
  }
  state.fleet = state.fleet->With(slot->second, nullptr);
  state.free_slots.push_back(slot->second);
  state.slots.erase(slot);
}

HostViewPtr Mirror::HolderOf(const State& state, const Uuid& consumer) {
  HostViewPtr found;
  auto moved = state.moved.find(consumer);
  state.consumers.ForEach(HashOf(consumer), [&](size_t slot) {
    if (moved != state.moved.end() && moved->second != slot) return;
    const HostView* view = state.fleet->Peek(slot);
    if (view != nullptr && view->claims.contains(consumer)) found = state.fleet->At(slot);
  });
  return found;
}

std::optional<Uuid> Mirror::ConsumerNamed(const State& state, std::string_view name) {
  std::optional<Uuid> found;
  uint64_t created_at_ms = 0;
  state.names.ForEach(HashOf(name), [&](size_t slot) {
    const HostView* view = state.fleet->Peek(slot);
    if (view == nullptr) return;
    // Names are unique but for a moment, when an instance takes the name of one that just went.
    for (const Uuid& consumer : view->claims.Named(name)) {
      const uint64_t created = view->claims.Find(consumer)->created_at_ms;
      if (found && created < created_at_ms) continue;
      found = consumer;
      created_at_ms = created;
    }
  });
  return found;
}

void Mirror::Enter(State& state, const placement::Claim& claim) {
  const size_t slot = state.slots.at(claim.host);
  // Its own entry was taken out: whoever holds the consumer now is another host.
  if (HolderOf(state, claim.consumer) != nullptr) state.moved[claim.consumer] = slot;
  state.consumers.Add(HashOf(claim.consumer), slot);
  state.names.Add(HashOf(std::string_view(claim.name)), slot);
  if (!claim.group) return;
  Group& group = state.groups[claim.group->name];
  if (group.hosts.empty()) group.rules = *claim.group;
  ++group.hosts[claim.host];
}

void Mirror::Leave(State& state, const placement::Claim& claim) {
  const size_t slot = state.slots.at(claim.host);
  state.consumers.Remove(HashOf(claim.consumer), slot);
  state.names.Remove(HashOf(std::string_view(claim.name)), slot);
  state.moved.erase(claim.consumer);
  if (!claim.group) return;
  auto group = state.groups.find(claim.group->name);
  if (group == state.groups.end()) return;
  auto host = group->second.hosts.find(claim.host);
  if (host == group->second.hosts.end()) return;
  if (--host->second == 0) group->second.hosts.erase(host);
  if (group->second.hosts.empty()) state.groups.erase(group);
}

void Mirror::PutReport(State& state, PlacementEvent event) {
  Uuid host = event.report->uuid;
  HostViewPtr old = ViewOf(state, host);
  if (old != nullptr && event.generation < old->told) return;
  auto view = old != nullptr ? Successor(*old) : MakePart<HostView>();
  for (placement::Cell& cell : event.report->cells) cell.siblings = *cores_.insert(cell.siblings).first;
  view->report = std::make_shared<const placement::HostReport>(std::move(*event.report));
  view->facts = options_.facts->Of(view->report->name, std::move(event.traits), event.aggregates);
  Tell(*view, event.generation);
  Derive(*view);
  SetView(state, host, std::move(view));
}

void Mirror::CountFailure(State& state, const placement::Claim* before, const placement::Claim& now,
                          HostView& view) const {
  using enum placement::InstanceState;
  if (before != nullptr && before->status.state == now.status.state) return;
  if (now.status.state == kRunning) {
    view.failures = 0;
    view.backing_off = false;
  }
  if (now.status.state != kFailed) return;
  ++view.failures;
  if (options_.backoff_first_s == 0) return;
  uint64_t seconds = uint64_t{options_.backoff_first_s} << std::min<uint32_t>(view.failures - 1, 20);
  seconds = std::min<uint64_t>(seconds, options_.backoff_longest_s);
  view.backoff_until_ms = now.status.observed_at_ms + seconds * 1000;
  view.backing_off = true;
  state.rests.emplace(view.backoff_until_ms, now.host);
}

void Mirror::PutClaim(State& state, const placement::Claim& claim, uint64_t generation, bool ahead) const {
  HostViewPtr old = ViewOf(state, claim.host);
  if (old == nullptr || generation < old->told) return;
  auto view = Successor(*old);
  const std::optional<placement::Claim> before = view->claims.Find(claim.consumer);
  CountFailure(state, before ? &*before : nullptr, claim, *view);
  if (before) {
    Leave(state, *before);
    view->claims.Erase(claim.consumer);
    CountOut(*before, *view);
  }
  view->claims.Put(claim);
  CountIn(claim, *view);
  if (ahead) {
    view->generation = std::max(view->generation, generation);
    view->ahead = true;
  } else {
    Tell(*view, generation);
  }
  Derive(*view);
  Enter(state, claim);
  SetView(state, claim.host, std::move(view));
}

void Mirror::RemoveClaim(State& state, const PlacementEvent& event) {
  HostViewPtr old = ViewOf(state, event.host);
  if (old == nullptr || event.generation < old->told || !event.claim) return;
  auto view = Successor(*old);
  if (const auto known = view->claims.Find(event.claim->consumer)) {
    Leave(state, *known);
    view->claims.Erase(known->consumer);
    CountOut(*known, *view);
  }
  Tell(*view, event.generation);
  Derive(*view);
  SetView(state, event.host, std::move(view));
}

void Mirror::ApplyTo(State& state, PlacementEvent event) {
  switch (event.kind) {
    case PlacementEvent::Kind::kHostChanged:
      if (event.report) PutReport(state, std::move(event));
      break;
    case PlacementEvent::Kind::kHostDeleted:
      RemoveHost(state, event.host);
      break;
    case PlacementEvent::Kind::kClaimChanged:
      if (!event.claim) break;
      assumed_.erase(event.claim->consumer);
      untold_.erase(event.claim->consumer);
      PutClaim(state, *event.claim, event.generation, false);
      break;
    case PlacementEvent::Kind::kClaimDeleted:
      RemoveClaim(state, event);
      break;
    case PlacementEvent::Kind::kReset:
    case PlacementEvent::Kind::kSynced:
      break;
  }
}

void Mirror::Apply(PlacementEvent event) {
  std::lock_guard lock(mutex_);
  if (event.kind == PlacementEvent::Kind::kReset) {
    incoming_.emplace();
  } else if (event.kind == PlacementEvent::Kind::kSynced) {
    FinishSnapshot();
  } else {
    ApplyTo(incoming_ ? *incoming_ : state_, std::move(event));
  }
}

void Mirror::FinishSnapshot() {
  synced_ = true;
  if (!incoming_) return;
  // An own claim made while the snapshot was on its way is newer than the snapshot. What else it lacks is
  // gone.
  std::set<Uuid> untold;
  state_.fleet->ForEach([&](const HostView& view) {
    HostViewPtr fresh = ViewOf(*incoming_, view.report->uuid);
    if (!view.ahead || fresh == nullptr || fresh->generation >= view.generation) return;
    view.claims.ForEach([&](const placement::Claim& claim) {
      const bool own = untold_.contains(claim.consumer);
      if ((!own && !assumed_.contains(claim.consumer)) || fresh->claims.contains(claim.consumer)) return;
      PutClaim(*incoming_, claim, view.generation, true);
      if (own) untold.insert(claim.consumer);
    });
  });
  untold_ = std::move(untold);
  state_ = std::move(*incoming_);
  incoming_.reset();
}

void Mirror::ApplyOwnClaim(const placement::Claim& claim, uint64_t decided_on, uint64_t generation) {
  std::lock_guard lock(mutex_);
  HostViewPtr view = ViewOf(state_, claim.host);
  if (view == nullptr || view->generation != decided_on) return;
  untold_.insert(claim.consumer);
  PutClaim(state_, claim, generation, true);
}

bool Mirror::Assume(const placement::Claim& claim, uint64_t decided_on) {
  std::lock_guard lock(mutex_);
  HostViewPtr view = ViewOf(state_, claim.host);
  if (view == nullptr || view->generation != decided_on || view->claims.contains(claim.consumer))
    return false;
  assumed_.insert(claim.consumer);
  PutClaim(state_, claim, decided_on + 1, true);
  return true;
}

void Mirror::Confirm(const placement::Claim& claim) {
  std::lock_guard lock(mutex_);
  if (assumed_.erase(claim.consumer) != 0) untold_.insert(claim.consumer);
}

void Mirror::Abandon(const placement::Claim& claim, uint64_t decided_on) {
  std::lock_guard lock(mutex_);
  // Its event has come: it was made, whatever we were told.
  if (assumed_.erase(claim.consumer) == 0) return;
  HostViewPtr old = ViewOf(state_, claim.host);
  if (old == nullptr) return;
  auto view = Successor(*old);
  const auto known = view->claims.Find(claim.consumer);
  if (!known) return;
  Leave(state_, *known);
  view->claims.Erase(claim.consumer);
  CountOut(*known, *view);
  view->generation = std::max(view->told, std::min(view->generation, decided_on));
  view->ahead = view->told < view->generation;
  Derive(*view);
  SetView(state_, claim.host, std::move(view));
}

void Mirror::EndRests(uint64_t now_ms) {
  std::lock_guard lock(mutex_);
  while (!state_.rests.empty() && state_.rests.begin()->first <= now_ms) {
    Uuid host = state_.rests.begin()->second;
    state_.rests.erase(state_.rests.begin());
    HostViewPtr old = ViewOf(state_, host);
    if (old == nullptr || !old->backing_off || old->backoff_until_ms > now_ms) continue;
    auto view = MakePart<HostView>(*old);
    view->backing_off = false;
    SetView(state_, host, std::move(view));
  }
}

void Mirror::Refresh(const Uuid& host, std::optional<HostState> state) {
  std::lock_guard lock(mutex_);
  if (!state) return RemoveHost(state_, host);
  HostViewPtr old = ViewOf(state_, host);
  // Of the same generation only statuses can differ, and the events bring them in order.
  if (old != nullptr && old->generation >= state->generation) return;
  RemoveHost(state_, host);
  PlacementEvent event;
  event.generation = state->generation;
  event.report = std::move(state->report);
  event.traits = std::move(state->traits);
  event.aggregates = std::move(state->aggregates);
  PutReport(state_, std::move(event));
  for (const placement::Claim& claim : state->claims) PutClaim(state_, claim, state->generation, true);
}

std::set<Uuid> Mirror::Assumed() const {
  std::lock_guard lock(mutex_);
  return assumed_;
}

std::optional<Mirror::Group> Mirror::FindGroup(std::string_view name) const {
  std::lock_guard lock(mutex_);
  auto found = state_.groups.find(name);
  if (found == state_.groups.end()) return std::nullopt;
  return found->second;
}

std::vector<Mirror::Group> Mirror::Groups() const {
  std::lock_guard lock(mutex_);
  std::vector<Group> out;
  out.reserve(state_.groups.size());
  for (const auto& [name, group] : state_.groups) out.push_back(group);
  return out;
}

Mirror::Located Mirror::Locate(const std::vector<Uuid>& hosts) const {
  std::lock_guard lock(mutex_);
  Located out;
  out.fleet = state_.fleet;
  for (const Uuid& host : hosts) {
    auto slot = state_.slots.find(host);
    if (slot != state_.slots.end()) out.slots.emplace(host, slot->second);
  }
  return out;
}

std::shared_ptr<const Fleet> Mirror::Snapshot() const {
  std::lock_guard lock(mutex_);
  return state_.fleet;
}

bool Mirror::synced() const {
  std::lock_guard lock(mutex_);
  return synced_;
}

std::optional<Mirror::FoundClaim> Mirror::FindClaim(std::string_view instance) const {
  std::lock_guard lock(mutex_);
  std::optional<Uuid> consumer = ConsumerNamed(state_, instance);
  if (auto parsed = Uuid::Parse(instance); !consumer && parsed.has_value()) consumer = *parsed;
  if (!consumer || assumed_.contains(*consumer)) return std::nullopt;
  const HostViewPtr view = HolderOf(state_, *consumer);
  if (view == nullptr) return std::nullopt;
  return FoundClaim{std::make_shared<const placement::Claim>(*view->claims.Find(*consumer)),
                    view->report->name, view->report->agent_endpoint};
}

}  // namespace berth::scheduler
