#pragma once

#include <cstdint>
#include <string>

namespace berth {

// Appends `value` in LEB128, as protobuf's varints: seven bits a byte, the lowest first. Most figures are
// small.
inline void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

}  // namespace berth
