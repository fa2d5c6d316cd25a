#pragma once

#include <string_view>

namespace berth::vmm {

// The project's version, "0.1.0".
inline constexpr std::string_view kVersion = BERTH_VERSION;

}  // namespace berth::vmm
