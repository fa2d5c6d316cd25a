#pragma once

#include <cstdint>
#include <vector>

#include "placement/candidates/resolve.h"
#include "placement/candidates/sharing.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

// The trees that a candidate could be for, as far as the view's indexes tell: one bit a slot. Only excludes
// what is impossible; what remains must be looked at.
std::vector<uint64_t> TreesInQuestion(const ResourceView& view, const ResolvedRequest& request,
                                      const SharingProviders& sharing);

// The same for providers that meet a filter and have all the classes by themselves.
std::vector<uint64_t> TreesInQuestion(const ResourceView& view, const ResolvedFilter& filter,
                                      const std::vector<ResolvedAmount>& amounts);

}  // namespace berth::placement
