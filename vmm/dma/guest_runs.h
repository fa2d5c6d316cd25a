#pragma once

#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// All RAM that there is now at its guest-physical addresses: a run for each region, and memory that can go
// away again in pieces that are unmapped alone.
std::vector<DmaRun> RunsOfMemory(const GuestMemory& memory);

// Maps RAM that was plugged at its guest-physical address. What of it is mapped already is no error.
Status MapPlugged(DmaEngine& dma, const MemoryRegion& run);

}  // namespace berth::vmm
