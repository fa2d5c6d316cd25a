#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

using MacAddress = std::array<uint8_t, 6>;

// "52:54:00:12:34:56", a unicast address that is not all zeros; else kInvalidArgument with the text.
Result<MacAddress> ParseMacAddress(std::string_view text);
// Lower case, with colons.
std::string MacAddressText(const MacAddress& mac);
// A random, locally administered unicast address.
MacAddress RandomMacAddress();

}  // namespace berth
