#pragma once

#include <vector>

#include "placement/model/claims_by_consumer.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"
#include "scheduler/fit/fit_host.h"

namespace berth::scheduler {

// One host of a picture of the fleet. Refers to the picture, which must outlive it.
struct KnownHost {
  using Claims = placement::ClaimsByConsumer;

  const placement::HostReport* report = nullptr;
  const placement::HostUsage* usage = nullptr;  // of the claims
  const FitHost* fit = nullptr;                 // of report and usage
  const Claims* claims = nullptr;
};

// Ascending by name. All of them have one table of device types.
using KnownHosts = std::vector<KnownHost>;

}  // namespace berth::scheduler
