#pragma once

#include <string_view>

namespace berth::placement {

// Trait of a device whose physical card is in the secure world (virtCCA): its agent reports it, and only
// confidential guests get the device.
inline constexpr std::string_view kSecureCardTrait = "CUSTOM_SECURE_CARD";

}  // namespace berth::placement
