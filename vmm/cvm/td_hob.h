#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// The list of hand-off blocks (UEFI PI specification, volume 3) from which a TD's firmware learns its memory.
struct HobRange {
  uint64_t base = 0;
  uint64_t size = 0;
  bool accepted = false;  // part of the launch; the guest must accept the rest itself before it uses it

  friend bool operator==(const HobRange&, const HobRange&) = default;
};

struct TdHobContent {
  std::vector<HobRange> ranges;                   // all RAM
  std::vector<std::vector<uint8_t>> acpi_tables;  // whole tables; the firmware makes their list
  bool linux_payload = false;                     // a bzImage lies in the PAYLOAD section (td-shim)
};

// The list as it lies at `gpa` in at most `room` bytes. kOutOfRange when the room is too small.
Result<std::vector<uint8_t>> BuildTdHob(uint64_t gpa, uint64_t room, const TdHobContent& content);

// RAM cut into pieces that are part of the launch and pieces that are not: `launched` (sorted or not, without
// overlaps) are those of the first kind, as far as they lie in RAM. Sorted by address.
std::vector<HobRange> CutRanges(const std::vector<HobRange>& ram, const std::vector<HobRange>& launched);

// Reads such a list again, as firmware would, of any bytes: what is built is proven by it. kInvalidArgument.
Result<TdHobContent> ParseTdHob(uint64_t gpa, const std::vector<uint8_t>& bytes);

}  // namespace berth::vmm
