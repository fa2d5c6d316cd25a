#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "scheduler/filters/filter.h"
#include "scheduler/fit/fit.h"
#include "scheduler/fit/fit_digest.h"
#include "scheduler/fit/request_plan.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/host_policy.h"
#include "scheduler/service/score.h"
#include "scheduler/service/state_memo.h"
#include "scheduler/service/tournament.h"

namespace berth::scheduler {

// The hosts of a fleet in the order in which they suit one class of requests: requests that fit the same
// hosts in the same way. It follows the fleet lazily: the fleet's journal tells
// which hosts to look at again; a look at all of them asks each state once. Not thread-safe.
class Candidates {
 public:
  // `policy`: nullptr: no filters, the built-in order. Must outlive it.
  explicit Candidates(const RequestSpec& spec, const HostPolicy* policy = nullptr);
  Candidates(const Candidates&) = delete;
  Candidates& operator=(const Candidates&) = delete;

  // The best host of the picture; among equals the first by name. nullptr: none fits.
  HostViewPtr Best(const Fleet& fleet);
  // Where the request sits on a host of the picture that Best named.
  FitResult PlaceOn(const HostView& host) const;
  // The best of those whose slots are not among `excluded`, which ascends. Costs by how many of them are
  // better.
  HostViewPtr BestExcept(const Fleet& fleet, const std::vector<size_t>& excluded);
  // The slot's host is none of them from now on.
  void Ban(size_t slot);
  const RequestSpec& spec() const { return spec_; }
  // Hosts that are neither yes nor no, in the picture asked last.
  uint32_t undecided() const { return undecided_; }
  // Hosts whose worth was asked for, since the beginning.
  uint64_t evaluated() const { return evaluated_; }
  size_t MemoryBytes() const;

 private:
  struct Change {
    uint32_t slot;
    bool renamed;
  };

  // Whether the host in the slot is not meant, whatever it has room for: banned, or refused by a filter.
  bool Refused(const FleetPage& page, size_t slot);
  // What a host is worth that is meant: a score, kUndecidedScore or kNoScore. Adds whether that follows from
  // its state alone.
  Score Worth(const FleetPage& page, size_t slot, bool& by_state) const;
  // What the slot is worth now. `memo`: of a look at all hosts; few of those that just changed are in a state
  // that was asked already.
  Score Ask(const FleetPage* page, size_t slot);
  Score AskOnce(const FleetPage* page, size_t slot, StateMemo& memo);
  // True if the slot is worth something else than before.
  bool Enter(size_t slot, Score now);

  void Follow();
  void LookAtAll();
  void LookAtChanges();
  // Fills changes_ with what changed since mark_. False: nobody knows.
  bool ListChanges();

  const RequestSpec spec_;
  RequestPlan plan_;
  const LeastNeeds needs_;
  const WeigherSet weighers_;  // prepared for the class
  ClassFilters filters_;
  std::vector<size_t> banned_;  // ascending
  std::vector<size_t> bans_to_enter_;
  const Fleet* fleet_ = nullptr;  // while Best runs
  Fleet::Mark mark_;              // of the picture asked last
  Tournament order_;              // of all slots
  // The filters' answer for the host asked last: those asked after each other are often alike to them.
  FleetPage::ForFilters filtered_;
  bool kept_ = false;
  // In Follow, kept for their memory.
  std::vector<Change> changes_;
  std::vector<Change> open_;
  std::vector<Tournament::Change> replayed_;
  uint32_t undecided_ = 0;
  uint64_t evaluated_ = 0;
};

// The classes that were asked for lately, each with its candidates. Thread-safe; two requests of one class
// wait for each other, others do not.
class CandidateCache {
 public:
  // A class that nobody asked for during `max_idle` other questions is forgotten.
  // `policy`: as of Candidates.
  explicit CandidateCache(size_t max_classes = 512, uint64_t max_idle = 10'000,
                          const HostPolicy* policy = nullptr)
      : max_classes_(max_classes), max_idle_(max_idle), policy_(policy) {}

  struct Answer {
    HostViewPtr host;  // shared with the picture; nullptr: none fits
    FitResult fit;     // Choose only: the place on it
    uint32_t undecided = 0;
  };
  // `excluded`: slots of hosts that are not meant, ascending.
  Answer Best(const std::shared_ptr<const Fleet>& fleet, const RequestSpec& spec,
              const std::vector<size_t>& excluded = {});
  // The same, and where on that host.
  Answer Choose(const std::shared_ptr<const Fleet>& fleet, const RequestSpec& spec,
                const std::vector<size_t>& excluded = {});

  struct Totals {
    size_t classes = 0;
    uint64_t hits = 0;
    uint64_t misses = 0;
  };
  Totals totals() const;

 private:
  struct Class {
    Class(const RequestSpec& key, const HostPolicy* policy) : candidates(key, policy) {}
    std::mutex mutex;  // guards candidates, but for its spec
    Candidates candidates;
    uint64_t asked = 0;  // number of the last question; guarded by the cache's mutex
  };
  using Order = std::list<std::shared_ptr<Class>>;  // shared with those who are asking it

  std::shared_ptr<Class> Find(const RequestSpec& spec);
  Answer Ask(const std::shared_ptr<const Fleet>& fleet, const RequestSpec& spec,
             const std::vector<size_t>& excluded, bool place);
  void ForgetOldest();

  const size_t max_classes_;
  const uint64_t max_idle_;
  const HostPolicy* const policy_;
  mutable std::mutex mutex_;                                    // guards all below; held for the look-up only
  Order order_;                                                 // lately asked first
  std::unordered_multimap<uint64_t, Order::iterator> classes_;  // by hash
  uint64_t asked_ = 0;
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
};

// The request without what has no influence on hosts (names of ports and aliases), and its hash.
RequestSpec ClassOf(const RequestSpec& spec);
// Whether ClassOf of both is equal.
bool SameClass(const RequestSpec& a, const RequestSpec& b);
uint64_t HashOf(const RequestSpec& spec);

}  // namespace berth::scheduler
