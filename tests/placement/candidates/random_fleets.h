#pragma once

#include <random>

#include "placement/candidates/request.h"
#include "tests/placement/candidates/naive_candidates.h"

namespace berth::placement::testing {

// Small fleets and requests that hit each other's rules often: few classes, traits and aggregates, trees of
// up to three levels, sharing providers (roots and others), equal siblings, amounts near the limits.
NaiveFleet RandomFleet(std::mt19937& random);
CandidatesRequest RandomRequest(std::mt19937& random, const NaiveFleet& fleet);
ProviderQuery RandomQuery(std::mt19937& random, const NaiveFleet& fleet);

}  // namespace berth::placement::testing
