#pragma once

#include "placement/model/claim.h"
#include "scheduler/fit/assignment.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Writes an assignment of `spec` into a claim: cells, devices, vCPUs and memory. The rest of the claim stays.
void BindAssignment(const RequestSpec& spec, const Assignment& assignment, placement::Claim& claim);

}  // namespace berth::scheduler
