#pragma once

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
  bool ahead = false;  // holds an own claim whose event has not come yet
};
// Shared: by the mirror, and by every reader of a snapshot that holds it.
using HostViewPtr = std::shared_ptr<const HostView>;

// A whole picture of the fleet. Immutable: readers keep it as long as they like and never wait. Hosts stand
// in pages, so that a change copies two short lists of pointers and not the fleet.
class Fleet {
 public:
  static constexpr size_t kPageHosts = 64;

  // In no particular order; `visit` takes a HostView.
  template <class Visitor>
  void ForEach(Visitor visit) const {
    for (const auto& page : pages_) {
      for (const HostViewPtr& host : *page) {
        if (host != nullptr) visit(*host);
      }
    }
  }
  HostViewPtr At(size_t slot) const;
  // The same without sharing it: valid as long as this picture.
  const HostView* Peek(size_t slot) const;
  // One more than the highest slot in use.
  size_t slots() const {
    return pages_.empty() ? 0 : (pages_.size() - 1) * kPageHosts + pages_.back()->size();
  }
  // Calls `visit` with each slot whose view differs from that in `before` (nullptr: all slots). Pages that
  // both pictures share are passed over.
  template <class Visitor>
  void ForEachChange(const Fleet* before, Visitor visit) const {
    for (size_t number = 0; number < pages_.size(); ++number) {
      const Page* old =
          before != nullptr && number < before->pages_.size() ? before->pages_[number].get() : nullptr;
      const Page& now = *pages_[number];
      if (old == &now) continue;
      for (size_t i = 0; i < now.size(); ++i) {
        if (old == nullptr || i >= old->size() || (*old)[i] != now[i]) visit(number * kPageHosts + i);
      }
    }
  }
  // The fleet with another view (or none) in a slot.
  std::shared_ptr<const Fleet> With(size_t slot, HostViewPtr host) const;

 private:
  using Page = std::vector<HostViewPtr>;
  std::vector<std::shared_ptr<const Page>> pages_;
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
