#pragma once

#include <string>

#include "common/uuid.h"

// What placement_allocator writes, known to the test too.
namespace berth::placement::testing {

inline constexpr uint32_t kPools = 4;
inline constexpr int32_t kPoolSize = 120;

inline Uuid PoolId(uint32_t pool) {
  return Uuid::FromName({}, "pool" + std::to_string(pool));
}
inline Uuid ConsumerId(uint32_t round, uint32_t thread, uint32_t number) {
  return Uuid::FromName({},
                        std::to_string(round) + "/" + std::to_string(thread) + "/" + std::to_string(number));
}

}  // namespace berth::placement::testing
