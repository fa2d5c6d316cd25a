#pragma once

#include <cstdint>
#include <string_view>

namespace berth::vmm {

inline constexpr uint64_t kStatePage = 4096;         // what has a state of its own
inline constexpr uint64_t kStateChunk = 2ULL << 20;  // what is kept as one where it is all alike
inline constexpr uint64_t kStateBlock = 1ULL << 30;  // likewise

// The side that a page of a confidential guest is on.
enum class PageState : uint8_t {
  kPrivate = 0,     // the guest's alone: neither the VMM nor a device may touch it
  kShared = 1,      // the host and devices may read and write it
  kUnplugged = 2,   // of a hot-plug area: no memory on either side
  kConverting = 3,  // between two of them, while a conversion runs: nobody may use it
};
inline constexpr int kPageStates = 4;

// "private", "shared", "unplugged", "converting"
std::string_view PageStateName(PageState state);

// A piece of guest-physical memory that is in one state.
struct StateRun {
  uint64_t base = 0;  // guest-physical
  uint64_t size = 0;  // bytes
  PageState state = PageState::kPrivate;

  uint64_t end() const { return base + size; }
  friend bool operator==(const StateRun&, const StateRun&) = default;
};

}  // namespace berth::vmm
