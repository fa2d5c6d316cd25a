#include "scheduler/service/fleet.h"

#include <algorithm>
#include <utility>

namespace berth::scheduler {
namespace {

// Rebuilds what follows from report and claims.
void Derive(HostView& view) {
  view.usage = {};
  for (const auto& [consumer, claim] : view.claims) placement::AddClaim(*claim, view.usage);
  view.fit = FromHost(*view.report, view.usage);
  view.state = FitStates::OfProcess().Of(view.fit);
}

bool SameName(const HostView* one, const HostView* other) {
  if (one == nullptr || other == nullptr) return one == other;
  return one->report == other->report || one->report->name == other->report->name;
}

// An event, or the whole host, has been told with this generation.
void Tell(HostView& view, uint64_t generation) {
  view.told = generation;
  view.ahead = generation < view.generation;
  view.generation = std::max(view.generation, generation);
}

}  // namespace

HostViewPtr Fleet::At(size_t slot) const {
  const Page* page = PageOf(slot);
  return page == nullptr ? nullptr : page->hosts[slot % kPageHosts];
}

Fleet::NameHead Fleet::HeadOf(const std::string& name) {
  NameHead head{};
  for (size_t i = 0; i < std::min(name.size(), sizeof(NameHead)); ++i)
    head[i / 8] |= uint64_t{static_cast<unsigned char>(name[i])} << (56 - i % 8 * 8);
  return head;
}

std::shared_ptr<const Fleet> Fleet::With(size_t slot, HostViewPtr host) const {
  auto next = std::make_shared<Fleet>(*this);
  next->slots_ = std::max(slots_, slot + 1);
  size_t chapters = (next->slots_ + kChapterHosts - 1) / kChapterHosts;
  while (next->chapters_.size() < chapters) next->chapters_.push_back(std::make_shared<const Chapter>());
  auto chapter = std::make_shared<Chapter>(*next->chapters_[slot / kChapterHosts]);
  std::shared_ptr<const Page>& old = (*chapter)[slot % kChapterHosts / kPageHosts];
  auto page = old == nullptr ? std::make_shared<Page>() : std::make_shared<Page>(*old);
  size_t within = slot % kPageHosts;
  bool renamed = !SameName(page->hosts[within].get(), host.get());
  page->states[within] = host != nullptr && host->state != nullptr ? host->state->number : 0;
  if (renamed) page->names[within] = host != nullptr ? HeadOf(host->report->name) : NameHead{};
  page->hosts[within] = std::move(host);
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

Mirror::Mirror() = default;

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
    for (const auto& [consumer, claim] : view->claims) {
      state.claim_hosts.erase(consumer);
      state.claim_names.erase(claim->name);
    }
  }
  state.fleet = state.fleet->With(slot->second, nullptr);
  state.free_slots.push_back(slot->second);
  state.slots.erase(slot);
}

void Mirror::PutReport(State& state, placement::HostReport report, uint64_t generation) {
  Uuid host = report.uuid;
  HostViewPtr old = ViewOf(state, host);
  if (old != nullptr && generation < old->told) return;
  auto view = old != nullptr ? std::make_shared<HostView>(*old) : std::make_shared<HostView>();
  view->report = std::make_shared<const placement::HostReport>(std::move(report));
  Tell(*view, generation);
  Derive(*view);
  SetView(state, host, std::move(view));
}

void Mirror::PutClaim(State& state, const placement::Claim& claim, uint64_t generation, bool ahead) {
  HostViewPtr old = ViewOf(state, claim.host);
  if (old == nullptr || generation < old->told) return;
  auto view = std::make_shared<HostView>(*old);
  auto known = view->claims.find(claim.consumer);
  if (known != view->claims.end()) state.claim_names.erase(known->second->name);
  view->claims[claim.consumer] = std::make_shared<const placement::Claim>(claim);
  if (ahead) {
    view->generation = std::max(view->generation, generation);
    view->ahead = true;
  } else {
    Tell(*view, generation);
  }
  Derive(*view);
  state.claim_hosts[claim.consumer] = claim.host;
  state.claim_names[claim.name] = claim.consumer;
  SetView(state, claim.host, std::move(view));
}

void Mirror::RemoveClaim(State& state, const PlacementEvent& event) {
  HostViewPtr old = ViewOf(state, event.host);
  if (old == nullptr || event.generation < old->told || !event.claim) return;
  auto view = std::make_shared<HostView>(*old);
  auto known = view->claims.find(event.claim->consumer);
  if (known != view->claims.end()) {
    state.claim_names.erase(known->second->name);
    state.claim_hosts.erase(known->first);
    view->claims.erase(known);
  }
  Tell(*view, event.generation);
  Derive(*view);
  SetView(state, event.host, std::move(view));
}

void Mirror::ApplyTo(State& state, PlacementEvent event) {
  switch (event.kind) {
    case PlacementEvent::Kind::kHostChanged:
      if (event.report) PutReport(state, std::move(*event.report), event.generation);
      break;
    case PlacementEvent::Kind::kHostDeleted:
      RemoveHost(state, event.host);
      break;
    case PlacementEvent::Kind::kClaimChanged:
      if (event.claim) PutClaim(state, *event.claim, event.generation, false);
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
  // An own claim made while the snapshot was on its way is newer than the snapshot.
  state_.fleet->ForEach([&](const HostView& view) {
    HostViewPtr fresh = ViewOf(*incoming_, view.report->uuid);
    if (!view.ahead || fresh == nullptr || fresh->generation >= view.generation) return;
    for (const auto& [consumer, claim] : view.claims) {
      if (!fresh->claims.contains(consumer)) PutClaim(*incoming_, *claim, view.generation, true);
    }
  });
  state_ = std::move(*incoming_);
  incoming_.reset();
}

void Mirror::ApplyOwnClaim(const placement::Claim& claim, uint64_t decided_on, uint64_t generation) {
  std::lock_guard lock(mutex_);
  HostViewPtr view = ViewOf(state_, claim.host);
  if (view != nullptr && view->generation == decided_on) PutClaim(state_, claim, generation, true);
}

void Mirror::Refresh(const Uuid& host, std::optional<HostState> state) {
  std::lock_guard lock(mutex_);
  if (!state) return RemoveHost(state_, host);
  HostViewPtr old = ViewOf(state_, host);
  // Of the same generation only statuses can differ, and the events bring them in order.
  if (old != nullptr && old->generation >= state->generation) return;
  RemoveHost(state_, host);
  PutReport(state_, std::move(state->report), state->generation);
  for (const placement::Claim& claim : state->claims) PutClaim(state_, claim, state->generation, true);
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
  std::optional<Uuid> consumer;
  if (auto named = state_.claim_names.find(instance); named != state_.claim_names.end())
    consumer = named->second;
  if (auto parsed = Uuid::Parse(instance); !consumer && parsed.has_value()) consumer = *parsed;
  if (!consumer) return std::nullopt;
  auto host = state_.claim_hosts.find(*consumer);
  if (host == state_.claim_hosts.end()) return std::nullopt;
  HostViewPtr view = ViewOf(state_, host->second);
  if (view == nullptr || !view->claims.contains(*consumer)) return std::nullopt;
  return FoundClaim{view->claims.at(*consumer), view->report->name, view->report->agent_endpoint};
}

}  // namespace berth::scheduler
