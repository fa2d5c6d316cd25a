#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/uuid.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/fit_state.h"
#include "scheduler/service/change_journal.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// One host at one generation. Immutable once published.
struct HostView {
  std::shared_ptr<const placement::HostReport> report;  // shared by the views of one report
  uint64_t generation = 0;
  // The generation that the last event had. Own claims run ahead of it: what happened before them (a status)
  // may still come, and is not old.
  uint64_t told = 0;
  std::map<Uuid, std::shared_ptr<const placement::Claim>> claims;  // shared by the views that hold them
  placement::HostUsage usage;                                      // of the claims
  FitHost fit;
  FitStatePtr state;   // of `fit`; shared by views in the same state; null: not told
  bool ahead = false;  // holds an own claim whose event has not come yet
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
    const Page* page = PageOf(slot);
    return page == nullptr ? nullptr : page->hosts[slot % kPageHosts].get();
  }
  // The number of the host's state (see FitState); 0: no host, or nobody told.
  uint64_t StateOf(size_t slot) const {
    const Page* page = PageOf(slot);
    return page == nullptr ? 0 : page->states[slot % kPageHosts];
  }
  // Whether the name of the host in slot `a` comes before that in `b`. Both must hold one.
  bool NameBefore(size_t a, size_t b) const {
    const NameHead& one = PageOf(a)->names[a % kPageHosts];
    const NameHead& other = PageOf(b)->names[b % kPageHosts];
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
  static constexpr size_t kPageHosts = 16;
  static constexpr size_t kChapterPages = 64;
  static constexpr size_t kChapterHosts = kPageHosts * kChapterPages;
  // The first 32 bytes of a name, zeros where it ends before: words that compare as the text does.
  using NameHead = std::array<uint64_t, 4>;

  // What decisions look at for every host stands beside the hosts, so that they need not be touched.
  struct Page {
    std::array<HostViewPtr, kPageHosts> hosts;
    std::array<uint64_t, kPageHosts> states{};
    std::array<NameHead, kPageHosts> names{};
  };
  using Chapter = std::array<std::shared_ptr<const Page>, kChapterPages>;

  static NameHead HeadOf(const std::string& name);

  const Page* PageOf(size_t slot) const {
    if (slot >= slots_) return nullptr;
    return (*chapters_[slot / kChapterHosts])[slot % kChapterHosts / kPageHosts].get();
  }

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
  Mirror();

  void Apply(PlacementEvent event);
  // Read-your-writes: puts an own claim in before its event comes, when the view is the one that was decided
  // on; a later view has it already or hears of it.
  void ApplyOwnClaim(const placement::Claim& claim, uint64_t decided_on, uint64_t generation);
  // Replaces the view of a host by what placement says now, unless the view is as new. Empty state: deleted.
  void Refresh(const Uuid& host, std::optional<HostState> state);

  // Never null.
  std::shared_ptr<const Fleet> Snapshot() const;
  // Whether the present state has been received once.
  bool synced() const;

  struct FoundClaim {
    std::shared_ptr<const placement::Claim> claim;  // shared with the view
    std::string host_name;
    std::string agent_endpoint;
  };
  // By consumer UUID or name.
  std::optional<FoundClaim> FindClaim(std::string_view instance) const;

 private:
  // What events build: the published state, or the next one while a snapshot is coming in.
  struct State {
    std::shared_ptr<const Fleet> fleet = std::make_shared<const Fleet>();
    std::map<Uuid, size_t> slots;
    std::vector<size_t> free_slots;
    std::map<Uuid, Uuid> claim_hosts;                      // consumer -> host
    std::map<std::string, Uuid, std::less<>> claim_names;  // name -> consumer
  };

  static HostViewPtr ViewOf(const State& state, const Uuid& host);
  static void SetView(State& state, const Uuid& host, HostViewPtr view);
  static void RemoveHost(State& state, const Uuid& host);
  static void PutClaim(State& state, const placement::Claim& claim, uint64_t generation, bool ahead);
  static void RemoveClaim(State& state, const PlacementEvent& event);
  static void PutReport(State& state, placement::HostReport report, uint64_t generation);
  static void ApplyTo(State& state, PlacementEvent event);
  void FinishSnapshot();

  mutable std::mutex mutex_;  // guards everything below; held for one change, never while deciding
  State state_;
  std::optional<State> incoming_;
  bool synced_ = false;
};

}  // namespace berth::scheduler
