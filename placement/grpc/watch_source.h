#pragma once

#include <functional>
#include <memory>

#include "berth/v1/placement.pb.h"
#include "placement/engine/event_hub.h"
#include "placement/wire/event_streams.h"

namespace berth::placement {

// The events of `hub` for one Watch call. `fleet`: for what the Placement model says of hosts. Both must
// outlive the source.
Result<std::unique_ptr<wire::EventSource<v1::Event>>> WatchEvents(EventHub& hub, const Fleet& fleet,
                                                                  const WatchRequest& request,
                                                                  std::function<void()> wake);

}  // namespace berth::placement
