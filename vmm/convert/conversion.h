#pragma once

#include <cstdint>
#include <string_view>

#include "vmm/pagestate/page_state.h"

namespace berth::vmm {

enum class Direction : uint8_t { kToShared, kToPrivate };

inline PageState Target(Direction direction) {
  return direction == Direction::kToShared ? PageState::kShared : PageState::kPrivate;
}
inline PageState Origin(Direction direction) {
  return direction == Direction::kToShared ? PageState::kPrivate : PageState::kShared;
}

// The steps of a conversion. To private they come in this order; to shared, attributes come before DMA. A
// step that fails is undone with all before it; discarding and committing cannot fail.
enum class ConversionStep : uint8_t {
  kPlan = 1,    // what is to change, and whether it may
  kReserve,     // memory on the side that the pages go to
  kBlock,       // nobody uses the pages any more: marked, and those who were at it have left
  kDma,         // devices lose, or get, the pages
  kAttributes,  // the guest's page tables in KVM
  kDiscard,     // memory on the side that the pages came from
  kCommit,
};
inline constexpr int kConversionSteps = 7;
std::string_view ConversionStepName(ConversionStep step);

// How the host keeps a page that has two sides.
enum class MemoryModel : uint8_t {
  kTwoBackings,  // a mapping for the shared side, a guest_memfd for the private one; content is not kept
  kInPlace,      // one page serves both: nothing to reserve or discard
};

}  // namespace berth::vmm
