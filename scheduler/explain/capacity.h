#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "scheduler/explain/known_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// How many more instances of one request a host takes.
struct HostRoom {
  uint64_t instances = 0;
  bool undecided = false;  // the search gave up: there may be more
};

// Counts for one host after another, by placing one instance after another as the scheduler would. Hosts that
// are in the same state are counted once. Not thread-safe.
class RoomCounter {
 public:
  // `spec` must outlive the counter.
  explicit RoomCounter(const RequestSpec& spec) : spec_(spec) {}

  HostRoom Count(const KnownHost& host);
  // States that were solved; the rest was known.
  uint64_t solved() const { return rooms_.size(); }

 private:
  uint64_t CountFloating(const FitHost& host) const;

  const RequestSpec& spec_;
  std::unordered_map<std::string, HostRoom> rooms_;  // by StateOf
};

// Everything that the solver sees of a host, as bytes: equal states have equal answers.
std::string StateOf(const FitHost& host);

}  // namespace berth::scheduler
