#pragma once

#include <tl/expected.hpp>

#include "placement/engine/resource_command.h"
#include "placement/rest/api_error.h"
#include "placement/rest/json_value.h"
#include "placement/rest/microversion.h"

namespace berth::placement::rest {

// One consumer's part of PUT /allocations/{consumer}, POST /allocations or POST /reshaper, which has passed
// its schema. A provider whose key is no UUID does not exist, and an amount that no inventory can have is
// refused.
tl::expected<ConsumerInput, ApiError> ReadConsumer(const Uuid& consumer, const JsonValue& body,
                                                   Microversion version);

// {consumer: {...}} of POST /allocations and POST /reshaper.
tl::expected<std::vector<ConsumerInput>, ApiError> ReadConsumers(const JsonValue& body, Microversion version);

}  // namespace berth::placement::rest
