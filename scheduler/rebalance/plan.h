#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/uuid.h"
#include "placement/model/claim.h"
#include "scheduler/explain/changes.h"
#include "scheduler/explain/known_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What a move costs: memory that is copied, and devices that the guest loses and finds again.
struct MoveCost {
  uint64_t memory_bytes = 0;
  uint32_t devices = 0;

  friend bool operator==(const MoveCost&, const MoveCost&) = default;
};

// One instance goes to another host. Its new claim is held before the old one is given back.
struct Move {
  std::string instance;
  std::string from;
  std::string to;
  placement::Claim claim;  // on the new host, with exact CPUs and devices
  MoveCost cost;
};

enum class PlanVerdict {
  kDone,       // the moves do it; none of them: nothing is in the way
  kNo,         // no plan of so few moves exists: everything was tried
  kUndecided,  // none was found before the budget ran out
};

struct RebalancePlan {
  PlanVerdict verdict = PlanVerdict::kUndecided;
  std::vector<Move> moves;                 // in the order in which they can be made, one after another
  MoveCost cost;                           // of all of them
  bool fewest = false;                     // no plan has fewer moves
  std::optional<placement::Claim> opened;  // for a request: what it holds afterwards, with host and place
  std::string opened_host;                 // its name
  // For a drain: instances that can not be moved (on their way out, or of another hypervisor), by name.
  std::vector<std::string> stuck;
  uint64_t tries = 0;  // fits that were asked for
};

struct PlanOptions {
  uint32_t max_moves = 10;
  // Fits that are asked for before the search gives up: about half a microsecond each on other hosts, ten
  // where a host is put together anew.
  uint64_t budget = 2'000'000;
};

// The place of an instance on a new host is the one that the scheduler would choose there. `flavors` may know
// less than was asked for once: see RequestOfClaim. `hosts` must be in order of names.
//
// Moves after which the request fits on some host.
RebalancePlan PlanRoom(const KnownHosts& hosts, const RequestSpec& spec, const FlavorSpecs& flavors,
                       const PlanOptions& options);
// Moves after which nothing that can be moved is left on the host, an index of `hosts`. Nothing is moved to
// it.
RebalancePlan PlanDrain(const KnownHosts& hosts, size_t host, const FlavorSpecs& flavors,
                        const PlanOptions& options);

}  // namespace berth::scheduler
