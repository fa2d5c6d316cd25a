#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/fit/fit.h"
#include "scheduler/service/candidates.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/host_limits.h"
#include "scheduler/service/host_policy.h"

namespace berth::scheduler {

// The host chosen for a request, and where on it.
struct Choice {
  Uuid host;
  std::string host_name;
  uint64_t generation = 0;  // of the view that was decided on
  Assignment assignment;
};

// Why one host does not take a request.
struct Refusal {
  std::string host_name;
  Reason reason;
};

struct Decision {
  std::optional<Choice> choice;
  std::vector<std::string> fitting;  // names of all hosts that fit, ascending; only when explaining
  std::vector<Refusal> refusals;     // ascending by name; when nothing fits, or when explaining
  uint32_t undecided = 0;            // hosts on which the search gave up
};

// The best host of the fleet: the fewest non-local devices, then the fewest unused devices beside a guest
// that asks for none, then the fullest that serves, then by name. Pure. `only`: a host's name or UUID; empty:
// any.
// `policy`: as of Candidates. `limits`: hosts that are not meant although they may fit.
Decision Decide(const Fleet& fleet, const RequestSpec& spec, const std::string& only, bool explain,
                const HostPolicy* policy = nullptr, const HostLimits& limits = {});

// The same choice among all hosts, by the class of the request: only hosts that changed since the class was
// asked for last are looked at. Reasons are told when nothing fits.
Decision DecideByClass(CandidateCache& cache, const std::shared_ptr<const Fleet>& fleet,
                       const RequestSpec& spec, const HostPolicy* policy = nullptr,
                       const HostLimits& limits = {});

// The place on one host that is known to take the request; nothing: the search gave up.
std::optional<Choice> ChooseOn(const HostView& view, const RequestSpec& spec);

// "no host fits: cpus_dedicated 3, pci_numa 1", the commonest reason first.
std::string SummarizeRefusals(const std::vector<Refusal>& refusals);

}  // namespace berth::scheduler
