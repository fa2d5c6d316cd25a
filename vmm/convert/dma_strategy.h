#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"
#include "vmm/dma/dma_backend.h"

namespace berth::vmm {

// How shared memory is mapped for devices, when parts of what was shared in one go may become private later.
enum class DmaStrategy {
  // By the runs in which it was shared; only such runs can be taken back while devices work. Fewest mappings.
  kExact,
  // So too, and the kernel takes any part back, atomically. All IOMMU pages are small.
  kCut,
  // By pieces of 2 MiB at most. A part of a piece is taken back by unmapping the piece and mapping its rest:
  // accesses of devices to the rest fault in between.
  kChunks,
  // By pages: any part can be taken back, at the price of a mapping for each page.
  kPages,
};
std::string_view DmaStrategyName(DmaStrategy strategy);

struct DmaPolicy {
  // Devices may see faults on shared memory next to memory that becomes private.
  bool allow_transient_faults = false;
  // How much the guest will share: its bounce buffers and rings.
  uint64_t expected_shared_bytes = 0;
};

struct DmaChoice {
  DmaStrategy strategy = DmaStrategy::kPages;
  std::string reason;
  uint64_t expected_mappings = 0;
  std::string warning;  // not empty: conversions may be refused later, and what to do about it
};

// What suits an address space with these limits. Pure.
DmaChoice ChooseDmaStrategy(const DmaLimits& limits, const DmaPolicy& policy);

// Whether `shared_bytes` can be mapped in that way; kResourceExhausted with the figures and the limit to
// raise.
Status CheckDmaEntries(const DmaLimits& limits, DmaStrategy strategy, uint64_t shared_bytes);

}  // namespace berth::vmm
