#include "vmm/convert/dma_strategy.h"

#include "vmm/pagestate/page_state.h"

namespace berth::vmm {
namespace {

uint64_t Mappings(DmaStrategy strategy, uint64_t bytes) {
  switch (strategy) {
    case DmaStrategy::kExact:
    case DmaStrategy::kCut:
      // The bounce buffers are one run; rings and tables of drivers come page by page: a thousand is plenty.
      return 1024;
    case DmaStrategy::kChunks:
      return bytes / kStateChunk + 1024;
    case DmaStrategy::kPages:
      return bytes / kStatePage;
  }
  return 0;
}

}  // namespace

std::string_view DmaStrategyName(DmaStrategy strategy) {
  switch (strategy) {
    case DmaStrategy::kExact:
      return "exact";
    case DmaStrategy::kCut:
      return "cut";
    case DmaStrategy::kChunks:
      return "chunks";
    case DmaStrategy::kPages:
      return "pages";
  }
  return "unknown";
}

Status CheckDmaEntries(const DmaLimits& limits, DmaStrategy strategy, uint64_t shared_bytes) {
  const uint64_t needed = Mappings(strategy, shared_bytes);
  if (needed <= limits.entries_left) return OkStatus();
  return ResourceExhausted("sharing " + std::to_string(shared_bytes >> 20) + " MiB with devices by " +
                               std::string(DmaStrategyName(strategy)) + " takes " + std::to_string(needed) +
                               " DMA mappings, " + std::to_string(limits.entries_left) + " are left",
                           {},
                           "raise vfio_iommu_type1.dma_entry_limit to at least " + std::to_string(needed));
}

DmaChoice ChooseDmaStrategy(const DmaLimits& limits, const DmaPolicy& policy) {
  DmaChoice choice;
  if (limits.can_cut) {
    choice.strategy = DmaStrategy::kCut;
    choice.reason = "the kernel can unmap a part of a mapping";
  } else if (policy.allow_transient_faults) {
    choice.strategy = DmaStrategy::kChunks;
    choice.reason = "the kernel cannot unmap a part of a mapping, and devices may see faults";
  } else if (Status pages = CheckDmaEntries(limits, DmaStrategy::kPages, policy.expected_shared_bytes);
             pages.ok()) {
    choice.strategy = DmaStrategy::kPages;
    choice.reason = "the kernel cannot unmap a part of a mapping, and devices may see no faults";
  } else {
    choice.strategy = DmaStrategy::kExact;
    choice.reason = "a mapping for each page would be too many";
    choice.warning = pages.message() +
                     ": a guest that takes back a part of what it has shared in one go is refused (" +
                     pages.hint() + ", use iommufd, or allow transient faults)";
  }
  choice.expected_mappings = Mappings(choice.strategy, policy.expected_shared_bytes);
  if (Status fits = CheckDmaEntries(limits, choice.strategy, policy.expected_shared_bytes);
      !fits.ok() && choice.warning.empty()) {
    choice.warning = fits.message() + " (" + fits.hint() + ")";
  }
  return choice;
}

}  // namespace berth::vmm
