#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// What a TD firmware image (TDVF or td-shim) wants in its guest's memory before the first instruction
// (Intel TDX Virtual Firmware Design Guide, "TDVF metadata").
struct TdvfSection {
  enum class Type : uint32_t {
    kBootFirmware = 0,    // BFV: code
    kConfigFirmware = 1,  // CFV: variables
    kTdHob = 2,           // room for the list of resources that the VMM makes
    kTempMem = 3,
    kPermMem = 4,
    kPayload = 5,
    kPayloadParam = 6,
  };
  Type type = Type::kBootFirmware;
  uint64_t gpa = 0;
  uint64_t memory_size = 0;  // whole pages
  uint64_t data_offset = 0;  // in the image
  uint64_t data_size = 0;    // of it; zeros fill the rest of memory_size
  bool measured = false;     // contents go into MRTD, page by page (EXTENDMR)
  bool added_later = false;  // PAGE.AUG: accepted by the guest, not part of the launch

  friend bool operator==(const TdvfSection&, const TdvfSection&) = default;
};

const char* TdvfSectionName(TdvfSection::Type type);  // "BFV", "TD_HOB", ...

// The sections in the order of the metadata. kInvalidArgument says what is wrong: no metadata, an unknown
// version, a section outside of the image or below a page, sections that overlap, not exactly one boot
// firmware and one TD_HOB. The image may be any bytes.
Result<std::vector<TdvfSection>> ParseTdvf(std::span<const uint8_t> image);

}  // namespace berth::vmm
