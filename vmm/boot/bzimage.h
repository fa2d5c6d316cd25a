#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/boot/image_source.h"

namespace berth::vmm {

// What the loader needs of a bzImage (Linux Documentation/arch/x86/boot.rst). All fields were checked against
// the image's size; they still come from outside, and guest addresses must be checked when they are used.
struct BzImage {
  uint16_t version = 0;         // boot protocol, 0x020c for 2.12
  uint64_t payload_offset = 0;  // of the protected-mode code in the file
  uint64_t payload_size = 0;
  uint64_t preferred_address = 0;
  uint32_t alignment = 0;  // of the load address, a power of two
  bool relocatable = false;
  uint32_t init_size = 0;             // memory that the kernel needs from its load address on
  uint32_t initrd_max = 0;            // highest address of the last byte of an initramfs
  uint32_t cmdline_max = 0;           // bytes without the terminating zero
  std::vector<uint8_t> setup_header;  // from offset 0x1f1, for the zero page
};

// Offset of the setup header in the image and in the zero page.
inline constexpr uint64_t kSetupHeaderOffset = 0x1f1;

// kInvalidArgument tells what makes this no bootable 64-bit bzImage: too short, no magic, a boot protocol
// before 2.12, no 64-bit entry point, sizes beyond the file.
Result<BzImage> ParseBzImage(const ImageSource& image);

}  // namespace berth::vmm
