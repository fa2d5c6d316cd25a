#pragma once

#include <cstdint>
#include <cstdlib>

namespace berth::vmm {

// How many random operations a property test does: BERTH_PROPERTY_OPS, or what runs in a second.
inline uint64_t PropertyOps(uint64_t by_default) {
  const char* text = std::getenv("BERTH_PROPERTY_OPS");  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? by_default : std::strtoull(text, nullptr, 10);
}

}  // namespace berth::vmm
