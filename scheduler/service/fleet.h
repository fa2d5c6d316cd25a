#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/core_list.h"
#include "common/uuid.h"
#include "placement/model/host.h"
#include "placement/model/packed_claims.h"
#include "placement/model/usage.h"
#include "scheduler/filters/filter.h"
#include "scheduler/filters/host_facts.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/fit_state.h"
#include "scheduler/service/change_journal.h"
#include "scheduler/service/fleet_page.h"
#include "scheduler/service/placement_client.h"
#include "scheduler/service/slot_hints.h"

namespace berth::scheduler {

// One host at one generation. Immutable once published.
struct HostView {
  std::shared_ptr<const placement::HostReport> report;  // shared by the views of one report
  uint64_t generation = 0;
  // The generation that the last event had. Own claims run ahead of it: what happened before them (a status)
  // may still come, and is not old.
  uint64_t told = 0;
  placement::PackedClaims claims;
  placement::HostUsage usage;  // of the claims
  // While an own claim loses a race two claims hold the same CPUs or devices for a moment: then what one of
  // them holds can not be taken off the usage.
  bool contested = false;
  FitHost fit;
  FitStatePtr state;              // of `fit`; shared by views in the same state; null: not told
  bool ahead = false;             // holds an own claim whose event has not come yet
  HostFactsPtr facts;             // never null once published
  uint32_t failures = 0;          // instances that failed here since one last ran
  uint64_t backoff_until_ms = 0;  // Unix time; of the last failure
  bool backing_off = false;       // until then

  FilteredHost Filtered() const {
    return {*facts, static_cast<uint32_t>(claims.size()), failures, backing_off};
  }
};
// Shared: by the mirror, and by every reader of a snapshot that holds it.
using HostViewPtr = std::shared_ptr<const HostView>;

// A whole picture of the fleet. Immutable: readers keep it as long as they like and never wait. Hosts stand
// in pages and pages in chapters, so that a change copies three short lists of pointers and not the fleet.
class Fleet {
 public:
  // In no particular order; `visit` takes a HostView.
  template <class Visitor>
  void ForEach(Visitor visit) const {
    for (size_t slot = 0; slot < slots_; ++slot) {
      if (const HostView* host = Peek(slot)) visit(*host);
    }
  }
  HostViewPtr At(size_t slot) const;
  // The same without sharing it: valid as long as this picture.
  const HostView* Peek(size_t slot) const {
    const FleetPage* page = PageOf(slot);
    return page == nullptr ? nullptr : page->hosts[slot % FleetPage::kHosts].get();
  }
  // The page that holds the slot, at slot % FleetPage::kHosts; nullptr: no host stands in it. Valid as long
  // as this picture.
  const FleetPage* PageOf(size_t slot) const {
    if (slot >= slots_) return nullptr;
    return (*chapters_[slot / kChapterHosts])[slot % kChapterHosts / FleetPage::kHosts].get();
  }
  // The host in the slot as filters see it, valid as long as this picture; nothing: no host, or nothing is
  // known.
  std::optional<FilteredHost> FilteredAt(size_t slot) const {
    const FleetPage* page = PageOf(slot);
    const auto* host = page == nullptr ? nullptr : &page->filtered[slot % FleetPage::kHosts];
    if (host == nullptr || host->facts == nullptr) return std::nullopt;
    return FilteredHost{*host->facts, host->instances, host->failures, host->backing_off != 0};
  }
  // Whether the name of the host in slot `a` comes before that in `b`. Both must hold one.
  bool NameBefore(size_t a, size_t b) const {
    const FleetPage::NameHead& one = PageOf(a)->names[a % FleetPage::kHosts];
    const FleetPage::NameHead& other = PageOf(b)->names[b % FleetPage::kHosts];
    for (size_t i = 0; i < one.size(); ++i) {
      if (one[i] != other[i]) return one[i] < other[i];
    }
    return Peek(a)->report->name < Peek(b)->report->name;
  }
  // One more than the highest slot in use.
  size_t slots() const { return slots_; }
  // Where a picture stands among those that follow each other. Holds no host.
  struct Mark {
    std::shared_ptr<const ChangeJournal> journal;  // shared with the pictures
    uint64_t number = 0;
  };
  Mark mark() const { return {journal_, number_}; }
  // Calls `visit(slot, renamed)` for each change since the picture of the mark; a slot may come more than
  // once, `renamed` tells whether it was given to another host, or to none. False: nobody knows any more what
  // changed, and all slots must be looked at.
  template <class Visitor>
  bool ForEachChange(const Mark& since, Visitor visit) const {
    return since.journal == journal_ && journal_->ForEach(since.number, number_, visit);
  }
  // The fleet with another view (or none) in a slot.
  std::shared_ptr<const Fleet> With(size_t slot, HostViewPtr host) const;

 private:
  static constexpr size_t kChapterPages = 64;
  static constexpr size_t kChapterHosts = FleetPage::kHosts * kChapterPages;
  using Chapter = std::array<std::shared_ptr<const FleetPage>, kChapterPages>;

  // `renamed`: the slot holds another host, or none, now.
  static void Put(FleetPage& page, size_t within, HostViewPtr host, bool renamed);

  // Each is shared by the pictures that have it in common.
  std::vector<std::shared_ptr<const Chapter>> chapters_;
  size_t slots_ = 0;
  // Shared by the pictures that follow each other.
  std::shared_ptr<ChangeJournal> journal_ = std::make_shared<ChangeJournal>();
  uint64_t number_ = 0;  // of this picture, in the journal
};

// Keeps the fleet as placement tells it. All functions are thread-safe.
class Mirror {
 public:
  struct Options {
    std::shared_ptr<FactsTable> facts = std::make_shared<FactsTable>();  // shared with whoever made it
    // How long a host rests after a failure (FilterSettings); 0: not at all.
    uint32_t backoff_first_s = 0;
    uint32_t backoff_longest_s = 3600;
  };

  Mirror() : Mirror(Options{}) {}
  explicit Mirror(Options options) : options_(std::move(options)) {}

  void Apply(PlacementEvent event);
  // Read-your-writes: puts an own claim in before its event comes, when the view is the one that was decided
  // on; a later view has it already or hears of it.
  void ApplyOwnClaim(const placement::Claim& claim, uint64_t decided_on, uint64_t generation);
  // Puts a claim in that placement has not been asked for yet, so that further decisions count with it. It is
  // no instance before Confirm: FindClaim and the lists do not know it. False: the host is gone or another
  // one by now (`decided_on` is not its generation), and nothing is put in.
  bool Assume(const placement::Claim& claim, uint64_t decided_on);
  // Placement has made it.
  void Confirm(const placement::Claim& claim);
  // Placement has not made it, or it was only tried: takes it out again. `decided_on`: as given to Assume.
  void Abandon(const placement::Claim& claim, uint64_t decided_on);
  // Ends the rests that are over at this time (Unix time).
  void EndRests(uint64_t now_ms);
  // Replaces the view of a host by what placement says now, unless the view is as new. Empty state: deleted.
  void Refresh(const Uuid& host, std::optional<HostState> state);

  // Never null.
  std::shared_ptr<const Fleet> Snapshot() const;
  // Whether the present state has been received once.
  bool synced() const;

  struct FoundClaim {
    std::shared_ptr<const placement::Claim> claim;  // shared by copies
    std::string host_name;
    std::string agent_endpoint;
  };
  // By consumer UUID or name.
  std::optional<FoundClaim> FindClaim(std::string_view instance) const;
  // Consumers of the claims that are only assumed.
  std::set<Uuid> Assumed() const;

  // A server group and where its members are, the assumed ones among them.
  struct Group {
    placement::ServerGroup rules;  // the first member's
    std::map<Uuid, uint32_t> hosts;
  };
  std::optional<Group> FindGroup(std::string_view name) const;
  std::vector<Group> Groups() const;  // ascending by name

  // A picture with the slots that hosts have in it; those it does not know are left out.
  struct Located {
    std::shared_ptr<const Fleet> fleet;  // shared with its readers
    std::map<Uuid, size_t> slots;
  };
  Located Locate(const std::vector<Uuid>& hosts) const;

 private:
  // What events build: the published state, or the next one while a snapshot is coming in.
  struct State {
    std::shared_ptr<const Fleet> fleet = std::make_shared<const Fleet>();
    std::unordered_map<Uuid, size_t> slots;
    std::vector<size_t> free_slots;
    SlotHints consumers;  // where the claims of consumers are, by hash
    SlotHints names;      // likewise of names
    // Of consumers with claims on two hosts, which a swap makes for a moment: the slot of the later one.
    std::unordered_map<Uuid, size_t> moved;
    std::map<std::string, Group, std::less<>> groups;  // by name
    std::multimap<uint64_t, Uuid> rests;               // end of a host's rest (Unix time) -> host
  };

  static HostViewPtr ViewOf(const State& state, const Uuid& host);
  static void SetView(State& state, const Uuid& host, HostViewPtr view);
  static void RemoveHost(State& state, const Uuid& host);
  void PutClaim(State& state, const placement::Claim& claim, uint64_t generation, bool ahead) const;
  static void RemoveClaim(State& state, const PlacementEvent& event);
  void PutReport(State& state, PlacementEvent event);
  void ApplyTo(State& state, PlacementEvent event);
  // Keep indexes and groups; before the view with the claim, or without it, is set.
  static void Enter(State& state, const placement::Claim& claim);
  static void Leave(State& state, const placement::Claim& claim);
  // The view that holds the consumer's claim: of two the later one. nullptr: none.
  static HostViewPtr HolderOf(const State& state, const Uuid& consumer);
  static std::optional<Uuid> ConsumerNamed(const State& state, std::string_view name);
  // What a change of an instance's state says about its host.
  void CountFailure(State& state, const placement::Claim* before, const placement::Claim& now,
                    HostView& view) const;
  void FinishSnapshot();

  struct ByCores {
    bool operator()(const CoreList& a, const CoreList& b) const {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    }
  };

  const Options options_;
  mutable std::mutex mutex_;  // guards everything below; held for one change, never while deciding
  std::set<Uuid> assumed_;    // consumers
  std::set<Uuid> untold_;     // consumers of own claims that placement has made, and no event has told yet
  // Each list of cores once, for the reports of all hosts of one make. As many as there are makes.
  std::set<CoreList, ByCores> cores_;
  State state_;
  std::optional<State> incoming_;
  bool synced_ = false;
};

}  // namespace berth::scheduler
