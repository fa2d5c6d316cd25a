#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "placement/model/claim.h"
#include "placement/model/usage.h"

namespace berth::placement {

// One host at one moment. Immutable once published, so that readers need no lock while they look at it.
struct HostVersion {
  std::shared_ptr<const HostReport> reported;  // what the agent said last
  std::shared_ptr<const HostReport> report;    // with what claims keep (KeepClaimed)
  HostUsage usage;
  std::vector<std::shared_ptr<const Claim>> claims;  // ascending by consumer
  uint64_t generation = 0;

  const Uuid& uuid() const { return report->uuid; }

  // The claim's place in `claims`, or where it would stand.
  auto ClaimAt(const Uuid& consumer) {
    return std::lower_bound(claims.begin(), claims.end(), consumer,
                            [](const auto& claim, const Uuid& id) { return claim->consumer < id; });
  }
};

}  // namespace berth::placement
