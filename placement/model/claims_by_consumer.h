#pragma once

#include <map>
#include <memory>

#include "common/uuid.h"
#include "placement/model/claim.h"

namespace berth::placement {

// The claims of one host by consumer, ascending, for those who look at few hosts; PackedClaims keeps those of
// a whole fleet.
using ClaimsByConsumer = std::map<Uuid, std::shared_ptr<const Claim>>;

}  // namespace berth::placement
