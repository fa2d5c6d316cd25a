#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

// The rules written a second time, naively, to judge the solver by. Nothing here uses the solver's own files.
namespace berth::scheduler {

// What is wrong with an assignment under R1 to R10; empty: nothing.
std::string FindFault(const FitHost& host, const RequestSpec& spec, const Assignment& assignment);

// Tries everything: the smallest possible number of non-local devices, or nothing when the request does not
// fit. Only for small hosts: at most 12 free dedicated CPUs per cell.
std::optional<uint32_t> SolveByBruteForce(const FitHost& host, const RequestSpec& spec);

}  // namespace berth::scheduler
