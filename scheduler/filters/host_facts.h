#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/uuid.h"

namespace berth::scheduler {

// A host aggregate as operators define it (scheduler.yaml).
struct Aggregate {
  std::string name;
  Uuid uuid;                       // of the Placement API's aggregate whose hosts belong here too; nil: none
  std::string availability_zone;   // of its hosts; empty: it makes none
  std::vector<std::string> hosts;  // names; "*" stands for any characters
  std::vector<std::pair<std::string, std::string>> metadata;  // sorted by key, unique

  // nullptr: no such key.
  const std::string* Find(std::string_view key) const;

  friend bool operator==(const Aggregate&, const Aggregate&) = default;
};

// What filters know of a host and what changes seldom. Immutable; hosts of which the same is known share one.
struct HostFacts {
  uint32_t number = 0;                       // equal numbers mean equal facts; small
  bool enabled = true;                       // false: COMPUTE_STATUS_DISABLED, an operator took the host out
  std::vector<std::string> traits;           // sorted
  std::vector<const Aggregate*> aggregates;  // in the order of the configuration, which outlives the facts
  std::string availability_zone;             // its aggregates', or the default one

  bool HasTrait(std::string_view name) const;
};
using HostFactsPtr = std::shared_ptr<const HostFacts>;  // shared by the views of all hosts it is true of

// Makes facts from what placement says and from the configuration, each once. Thread-safe.
class FactsTable {
 public:
  // `default_zone`: of hosts in no aggregate that makes one.
  explicit FactsTable(std::vector<Aggregate> aggregates = {}, std::string default_zone = "default")
      : aggregates_(std::move(aggregates)), default_zone_(std::move(default_zone)) {}

  // `traits`: of the host as a whole, in any order; `aggregates`: UUIDs of the Placement API's.
  HostFactsPtr Of(std::string_view host_name, std::vector<std::string> traits,
                  const std::vector<Uuid>& aggregates);
  const std::vector<Aggregate>& aggregates() const { return aggregates_; }

 private:
  const std::vector<Aggregate> aggregates_;
  const std::string default_zone_;
  std::mutex mutex_;                                     // guards known_
  std::unordered_map<std::string, HostFactsPtr> known_;  // by everything in them
};

// Whether `text` is `pattern`, in which each "*" stands for any characters.
bool MatchesPattern(std::string_view text, std::string_view pattern);

}  // namespace berth::scheduler
