#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/explain/known_host.h"
#include "scheduler/fit/assignment.h"
#include "scheduler/fit/lack.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What became of a request on one host.
struct HostOutcome {
  Verdict verdict = Verdict::kNo;
  Lack lack;  // of kNo
};

// Hosts whose first lack has one code.
struct LackTally {
  uint32_t hosts = 0;
  uint32_t nearest = 0;  // number of the host that lacks least, relative to the need; the first of equals
};

struct Reasons {
  std::vector<HostOutcome> outcomes;  // by host
  std::vector<LackTally> tallies;     // the commonest first
  uint32_t fitting = 0;
  uint32_t undecided = 0;
};

// The verdict of every host, and of those that refuse the first lack. About 0.2 us a host.
Reasons FindReasons(const KnownHosts& hosts, const RequestSpec& spec);

// How much is missing, as a part of the need: 0 to 1. Of lacks without figures: 1.
double Shortfall(const Lack& lack);

}  // namespace berth::scheduler
