#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "scheduler/filters/host_facts.h"
#include "scheduler/fit/assignment.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// One host as filters see it.
struct FilteredHost {
  const HostFacts& facts;
  uint32_t instances = 0;    // claims it holds
  uint32_t failures = 0;     // instances that failed there since one last ran
  bool backing_off = false;  // since a failure, for a while
};

// What operators set for filters (scheduler.yaml).
struct FilterSettings {
  std::vector<std::string> names;       // in the order in which they are asked
  uint32_t max_instances_per_host = 0;  // 0: no limit, but for aggregates' own
  uint32_t backoff_first_s = 0;         // 0: hosts do not back off
  uint32_t backoff_longest_s = 3600;
  std::vector<Aggregate> aggregates;
  std::string default_zone = "default";
};

// A rule that keeps hosts, beside what the solver counts. One small class in one file of this folder, with
// one line in registry.cc; docs/scheduling.md shows how. Pure and immutable, so thread-safe.
class Filter {
 public:
  enum class Reads {
    kFacts,  // the facts alone: asked once for all hosts that share them
    kHost,   // counts of the host, too: asked each time the host changes
  };

  virtual ~Filter() = default;

  virtual Reads reads() const { return Reads::kFacts; }
  // Whether the filter can refuse any host for this request: what it does not concern costs nothing.
  virtual bool Concerns(const RequestSpec& spec) const = 0;
  virtual bool Keeps(const FilteredHost& host, const RequestSpec& spec) const = 0;
  // Of a host that it does not keep. `code` is the filter's name.
  virtual Reason Why(const FilteredHost& host, const RequestSpec& spec) const = 0;
};

// The filters of one configuration. Immutable.
class FilterSet {
 public:
  // None.
  FilterSet() = default;
  // Errors: kInvalidArgument; an unknown name with the nearest known one as hint, a name that is there twice.
  static Result<FilterSet> Make(const FilterSettings& settings);
  // Every name there is, in the order in which they are asked by default.
  static const std::vector<std::string>& Names();

  struct Entry {
    std::string name;
    std::shared_ptr<const Filter> filter;  // shared by copies of the set
  };
  const std::vector<Entry>& entries() const { return entries_; }
  // The first reason against the host; nothing: all keep it.
  std::optional<Reason> Refuse(const FilteredHost& host, const RequestSpec& spec) const;
  // The request without what no filter of the set reads, so that more requests are of one class.
  void Simplify(RequestSpec& spec) const;

 private:
  std::vector<Entry> entries_;
  std::vector<std::string> image_keys_;  // properties that some aggregate or filter reads, sorted
};

// The filters that concern one class of requests. Remembers what facts have passed. Not thread-safe.
class ClassFilters {
 public:
  // Both must outlive it.
  ClassFilters(const FilterSet& set, const RequestSpec& spec);

  bool any() const { return !by_facts_.empty() || !by_host_.empty(); }
  // Whether counts of hosts matter; else KeepsFacts says it all.
  bool reads_hosts() const { return !by_host_.empty(); }
  // Whether facts of this number are known to pass.
  bool Kept(uint32_t facts) const {
    return by_facts_.empty() || (facts < known_.size() && known_[facts] == Known::kKept);
  }
  bool KeepsFacts(const HostFacts& facts);
  bool KeepsHost(const FilteredHost& host) const;
  bool Keeps(const FilteredHost& host) { return KeepsFacts(host.facts) && KeepsHost(host); }

 private:
  enum class Known : uint8_t { kNo, kKept, kRefused };

  const RequestSpec& spec_;
  std::vector<const Filter*> by_facts_;
  std::vector<const Filter*> by_host_;
  std::vector<Known> known_;  // by number of the facts
};

}  // namespace berth::scheduler
