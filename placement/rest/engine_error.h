#pragma once

#include "common/status.h"
#include "placement/rest/api_error.h"

namespace berth::placement::rest {

// The engine's error as the API tells it.
ApiError ErrorOf(const Status& status);

}  // namespace berth::placement::rest
