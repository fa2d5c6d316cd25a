#pragma once

#include <memory>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/dma/dma_backend.h"

namespace berth::vmm {

// A container of VFIO's group interface with the type1 (v2) IOMMU set. Owns the descriptor.
std::unique_ptr<DmaBackend> MakeType1Backend(UniqueFd container);

}  // namespace berth::vmm
