#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "vmm/boot/image_source.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// End of the RAM that starts at address 0 and is contiguous over regions.
uint64_t LowRamEnd(const GuestMemory& memory);

// "guest memory is too small for WHAT": addresses up to which RAM must and does reach.
Status TooSmallFor(const std::string& what, uint64_t need, uint64_t have);

// Reads `size` bytes of an image to guest RAM, also where two zones meet.
Status ReadIntoGuest(const GuestMemory& memory, const ImageSource& image, uint64_t offset, Gpa to,
                     uint64_t size);

}  // namespace berth::vmm
