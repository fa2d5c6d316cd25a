#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

using Guid = std::array<uint8_t, 16>;  // as it lies in a firmware image

// From "96b582de-1fb2-45f7-baea-a366c55a082d": the first three parts are little-endian numbers.
constexpr Guid MakeGuid(std::string_view text) {
  auto digit = [](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
  constexpr int kOrder[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  Guid guid{};
  size_t at = 0;
  for (int i = 0; i < 16; ++i) {
    if (text[at] == '-') ++at;
    guid[static_cast<size_t>(kOrder[i])] = static_cast<uint8_t>(digit(text[at]) << 4 | digit(text[at + 1]));
    at += 2;
  }
  return guid;
}

// One entry of the table of GUIDs that ends 32 bytes before the end of an OVMF image
// (edk2 OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm).
struct FirmwareTableEntry {
  Guid guid{};
  std::span<const uint8_t> data;  // in the image
};

// All entries, the last one of the image first; none when the image has no such table. kInvalidArgument when
// it is broken. The entries point into `image`, which may be any bytes.
Result<std::vector<FirmwareTableEntry>> ReadFirmwareTable(std::span<const uint8_t> image);

// The 32-bit number that an entry starts with, or nothing.
std::optional<uint32_t> FirmwareTableValue(const std::vector<FirmwareTableEntry>& table, const Guid& guid);

}  // namespace berth::vmm
