#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace berth::vmm {

// "0x1000-0x1fff", for messages.
inline std::string RangeText(uint64_t start, uint64_t size) {
  char text[48];
  std::snprintf(text, sizeof text, "%#llx-%#llx", static_cast<unsigned long long>(start),
                static_cast<unsigned long long>(size == 0 ? start : start + (size - 1)));
  return text;
}

}  // namespace berth::vmm
