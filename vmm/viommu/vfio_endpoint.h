#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/domains.h"

namespace berth::vmm {

// A device of the host behind the virtual IOMMU: the guest's mappings become mappings of an I/O address space
// that the device has for itself. Thread-safe. `dma` and `memory` outlive it.
class VfioEndpoint final : public IommuEndpoint {
 public:
  VfioEndpoint(DmaEngine& dma, const GuestMemory& memory) : dma_(dma), memory_(memory) {}

  Status Enter(const IommuMappings& mappings) override;
  Status Bypass() override;
  void Block() override;
  Status Map(const IommuMapping& mapping) override;
  Status Unmap(const IommuMapping& mapping) override;
  // What the host's IOMMU cannot map.
  std::vector<IovaRange> Reserved() const override;

  // RAM comes and goes. While the device bypasses the IOMMU it reaches what comes; what goes it reaches no
  // longer, whatever the guest has mapped.
  Status OnAdded(const MemoryRegion& run);
  void OnRemoved(Gpa base, uint64_t size);

 private:
  enum class Reach { kNothing, kMemory, kMappings };

  // Nothing for a mapping without rights. kOutOfRange when it maps anything but RAM.
  Result<std::vector<DmaRun>> RunsOf(const IommuMapping& mapping) const;
  // With mutex_ held:
  Status UnmapAll();
  // Unmaps all, then maps these, one call each: what the guest maps as one it unmaps as one, never more at a
  // time. On error what was mapped before is mapped again, or nothing is.
  Status Replace(const std::vector<DmaRun>& runs, Reach reach);
  void Cut();

  DmaEngine& dma_;
  const GuestMemory& memory_;
  std::mutex mutex_;  // guards what follows and the order of changes
  Reach reach_ = Reach::kNothing;
};

}  // namespace berth::vmm
