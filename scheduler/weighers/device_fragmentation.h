#pragma once

#include <memory>

#include "scheduler/fit/fragmentation.h"
#include "scheduler/weighers/weigher.h"

namespace berth::scheduler {

// Prefers hosts where the least of the scarce devices becomes useless to the usual requests. It must be told
// which devices and which requests those are, so no name in scheduler.yaml stands for it: put it into a
// HostPolicy with WeigherSet::Of.
std::shared_ptr<const Weigher> MakeDeviceFragmentationWeigher(
    std::shared_ptr<const FragmentationObjective> objective);

}  // namespace berth::scheduler
