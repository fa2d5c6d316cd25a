#pragma once

#include <memory>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/domains.h"

namespace berth::vmm {

// A device of the host behind the virtual IOMMU: the guest's mappings become mappings of an I/O address space
// that the device has for itself. `dma` and `memory` outlive it.
class VfioEndpoint final : public IommuEndpoint {
 public:
  VfioEndpoint(DmaEngine& dma, const GuestMemory& memory) : dma_(dma), memory_(memory) {}

  Status Enter(const IommuMappings& mappings) override;
  Status Bypass() override;
  void Block() override;
  Status Map(const IommuMapping& mapping) override;
  Status Unmap(const IommuMapping& mapping) override;

 private:
  // kOutOfRange when it maps anything but RAM.
  Result<std::vector<DmaRun>> RunsOf(const IommuMapping& mapping) const;
  // Unmaps all, then maps these. On error nothing is mapped.
  Status Replace(const std::vector<DmaRun>& runs);
  std::vector<DmaRun> MemoryRuns() const;

  DmaEngine& dma_;
  const GuestMemory& memory_;
};

}  // namespace berth::vmm
