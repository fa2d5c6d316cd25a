#pragma once

#include "berth/v1/host.pb.h"
#include "common/uuid.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

// What the Placement model says of a host as a whole: the traits of its root provider and of its NUMA cells'
// providers, and the aggregates of its root provider. Fills `traits` and `aggregates` of `out`, sorted;
// nothing for a host that the view does not have.
void HostFactsToProto(const ResourceView& view, const Uuid& host, v1::Host* out);

}  // namespace berth::placement
