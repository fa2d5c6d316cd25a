#pragma once

#include <functional>
#include <memory>
#include <string>

#include "berth/v1/scheduler.pb.h"
#include "placement/wire/event_streams.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// The changes of one instance, or of all ("") for one WatchInstances call. `scheduler` must outlive the
// source. kUnavailable: the fleet is not known yet.
Result<std::unique_ptr<wire::EventSource<v1::InstanceEvent>>> InstanceEvents(Scheduler& scheduler,
                                                                             const std::string& instance,
                                                                             std::function<void()> wake);

}  // namespace berth::scheduler
