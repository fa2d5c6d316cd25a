#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "placement/engine/resource_command.h"
#include "placement/rest/api_error.h"
#include "placement/rest/json_value.h"

namespace berth::placement::rest {

// Parts of bodies that have passed their schemas, as the engine's values.

// What is not given has the API's default.
InventoryInput ReadInventory(std::string resource_class, const JsonValue& body);
// {class: inventory}. The schema leaves keys alone that are no class names: those are unknown classes.
tl::expected<std::vector<InventoryInput>, ApiError> ReadInventories(const JsonValue& body);
// An integer of any size; one that no generation can have becomes one that none has.
uint64_t ReadGeneration(const JsonValue& value);

}  // namespace berth::placement::rest
