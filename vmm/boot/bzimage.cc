#include "vmm/boot/bzimage.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <string>

namespace berth::vmm {
namespace {

constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kHeaderRead = 0x300;       // bytes of the image that are looked at
constexpr uint64_t kHeaderFieldsEnd = 0x268;  // of protocol 2.12
constexpr uint64_t kHeaderRoom = 0x290;       // end of the header's room in the zero page
constexpr uint16_t kOldestProtocol = 0x020c;
constexpr uint16_t kEntry64Flag = 1 << 0;  // xloadflags: entry point at 0x200 of the payload
constexpr uint64_t kEntry64Offset = 0x200;

template <class T>
T Field(const std::array<uint8_t, kHeaderRead>& header, size_t offset) {
  T value;
  std::memcpy(&value, header.data() + offset, sizeof value);
  return value;
}

Status Bad(const ImageSource& image, const std::string& why) {
  return InvalidArgument(image.name() + " is not a bootable bzImage: " + why, "kernel");
}

}  // namespace

Result<BzImage> ParseBzImage(const ImageSource& image) {
  if (image.size() < kHeaderRead) {
    return Bad(image, "it has " + std::to_string(image.size()) + " bytes");
  }
  std::array<uint8_t, kHeaderRead> header;
  TRY(image.ReadAt(0, header));
  if (Field<uint16_t>(header, 0x1fe) != 0xaa55) return Bad(image, "no boot sector signature at offset 0x1fe");
  if (std::memcmp(header.data() + 0x202, "HdrS", 4) != 0)
    return Bad(image, "no setup header at offset 0x202");

  BzImage result;
  result.version = Field<uint16_t>(header, 0x206);
  if (result.version < kOldestProtocol) {
    char text[80];
    std::snprintf(text, sizeof text, "boot protocol is %u.%02u, need 2.12 (Linux 3.8) or later",
                  result.version >> 8, result.version & 0xffu);
    return Bad(image, text);
  }
  if ((Field<uint16_t>(header, 0x236) & kEntry64Flag) == 0) return Bad(image, "no 64-bit entry point");

  uint64_t sectors = header[0x1f1];
  if (sectors == 0) sectors = 4;
  result.payload_offset = (sectors + 1) * kSectorSize;
  if (image.size() < result.payload_offset + kEntry64Offset + 1) {
    return Bad(image, "its code should start at offset " + std::to_string(result.payload_offset) +
                          " but it has only " + std::to_string(image.size()) + " bytes");
  }
  result.payload_size = image.size() - result.payload_offset;
  uint64_t declared = uint64_t{Field<uint32_t>(header, 0x1f4)} * 16;
  if (declared > result.payload_size) {
    return Bad(image, "it is cut off: code of " + std::to_string(declared) + " bytes, found " +
                          std::to_string(result.payload_size));
  }
  result.initrd_max = Field<uint32_t>(header, 0x22c);
  result.alignment = Field<uint32_t>(header, 0x230);
  if (!std::has_single_bit(result.alignment)) {
    return Bad(image, "alignment " + std::to_string(result.alignment) + " is not a power of two");
  }
  result.relocatable = header[0x234] != 0;
  result.cmdline_max = Field<uint32_t>(header, 0x238);
  result.preferred_address = Field<uint64_t>(header, 0x258);
  result.init_size = Field<uint32_t>(header, 0x260);
  // The header ends where the jump instruction at 0x200 leads to.
  uint64_t end = std::clamp<uint64_t>(0x202 + uint64_t{header[0x201]}, kHeaderFieldsEnd, kHeaderRoom);
  result.setup_header.assign(header.begin() + kSetupHeaderOffset,
                             header.begin() + static_cast<ptrdiff_t>(end));
  return result;
}

}  // namespace berth::vmm
