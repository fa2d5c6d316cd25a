#pragma once

#include <cstdint>

#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// The most PCI requests that one instance may have; a request set is a 64-bit mask.
inline constexpr size_t kMaxPciRequests = 64;

// R6, R7, R10: whether the device, free and assignable, is what one alternative asks for.
bool Matches(const FitDevice& device, const DeviceMatch& match);

// The requests that the device can serve, bit r for request r, whatever its NUMA node.
uint64_t ServableRequests(const FitDevice& device, const RequestSpec& spec);

}  // namespace berth::scheduler
