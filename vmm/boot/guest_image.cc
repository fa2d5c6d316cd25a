#include "vmm/boot/guest_image.h"

#include <algorithm>

#include "common/byte_size.h"

namespace berth::vmm {

uint64_t LowRamEnd(const GuestMemory& memory) {
  uint64_t end = 0;
  for (const MemoryRegion& region : memory.regions()) {
    if (Raw(region.base) != end) break;
    end += region.size;
  }
  return end;
}

Status TooSmallFor(const std::string& what, uint64_t need, uint64_t have) {
  return OutOfRange("guest memory is too small for " + what + ": RAM below 3 GiB must reach " +
                        ByteSize(need).ToHuman() + ", has " + ByteSize(have).ToHuman(),
                    "memory");
}

Status ReadIntoGuest(const GuestMemory& memory, const ImageSource& image, uint64_t offset, Gpa to,
                     uint64_t size) {
  for (const MemoryRegion& region : memory.regions()) {
    uint64_t begin = std::max(Raw(region.base), Raw(to));
    uint64_t end = std::min(Raw(region.base) + region.size, Raw(to) + size);
    if (begin >= end) continue;
    TRY_ASSIGN(auto span, memory.Span(Gpa{begin}, end - begin));
    TRY(image.ReadAt(offset + (begin - Raw(to)), span));
  }
  return OkStatus();
}

}  // namespace berth::vmm
