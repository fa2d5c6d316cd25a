#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "vmm/pagestate/page_state_map.h"

// The serialised page states: whatever is accepted has one form, and is written as it was read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto map = berth::vmm::PageStateMap::Parse(std::span(data, size));
  if (!map.has_value()) return 0;
  const auto bytes = map->Serialize();
  if (!bytes.has_value()) std::abort();
  const auto again = berth::vmm::PageStateMap::Parse(*bytes);
  if (!again.has_value() || *again->Serialize() != *bytes) std::abort();
  return 0;
}
