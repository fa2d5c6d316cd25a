#pragma once

#include <cstdint>
#include <span>

#include "common/status.h"

namespace berth::vmm {

// Gives every page of a mapping its memory now, by up to 16 threads. Memory policies (mbind) must be set
// before. kResourceExhausted when memory runs out, for huge pages instead of a later SIGBUS.
Status Prefault(std::span<uint8_t> mapping, uint64_t page_size);

}  // namespace berth::vmm
