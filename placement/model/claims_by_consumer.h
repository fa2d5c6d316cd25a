#pragma once

#include <map>
#include <memory>

#include "common/uuid.h"
#include "placement/model/claim.h"

namespace berth::placement {

// The claims of one host by consumer, ascending. Claims are shared by all versions of the host that hold
// them. Measure memory_bench before this or the mirror's indexes become other containers: blocks of other
// sizes among those that stay have kept the allocator from giving more than half of the memory back.
using ClaimsByConsumer = std::map<Uuid, std::shared_ptr<const Claim>>;

}  // namespace berth::placement
