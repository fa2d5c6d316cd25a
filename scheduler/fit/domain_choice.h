#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scheduler/fit/device_fit.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Kind of the domains that no agent names: a PF with its VFs, or a device by itself.
inline constexpr const char* kParentDomain = "parent";
// Whether the request is for devices of one parent and nothing else.
bool WantsOneParent(const RequestSpec& spec);

// One domain for each group of RequestSpec::domains, by name ("switch:3").
using DomainChoice = std::vector<std::string>;

// Every choice that could serve: the domains of a group's kind that hold enough devices for each of its
// requests. One empty choice when the request names no groups; nothing when some group has no domain, which
// is a proof (unless the budget ran out).
std::vector<DomainChoice> ListDomainChoices(const FitHost& host, const RequestSpec& spec, StepBudget& budget);

// The requests that the device may serve under a choice: those of ServableRequests, without the groups whose
// domain it is not in.
uint64_t WithinDomains(const FitDevice& device, const RequestSpec& spec, const DomainChoice& choice,
                       uint64_t serves);

}  // namespace berth::scheduler
