#pragma once

#include <string>
#include <vector>

#include "placement/candidates/candidates.h"
#include "placement/model/resource_draft.h"

namespace berth::placement::bench {

// The fleet of tests/bench/placement/fleet.py: a root, 4 NUMA cells, 8 PFs of 8 VFs, two instances a host.
std::unique_ptr<ResourceDraft> MakeFleet(uint32_t hosts);
// Hosts with 8 providers of one PGPU each.
std::unique_ptr<ResourceDraft> MakeGpuFleet(uint32_t hosts);

struct NamedRequest {
  std::string name;
  CandidatesRequest request;
};
// The queries of fleet.py, without limit.
std::vector<NamedRequest> FleetRequests(uint32_t hosts);
CandidatesRequest GpuRequest(uint32_t groups);

}  // namespace berth::placement::bench
