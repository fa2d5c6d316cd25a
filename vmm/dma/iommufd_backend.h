#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"
#include "vmm/dma/dma_backend.h"

namespace berth::vmm {

// An I/O address space of its own on an open /dev/iommu.
struct IommufdSpace {
  std::unique_ptr<DmaBackend> backend;
  uint32_t ioas_id = 0;  // what devices are attached to
};

// `iommufd` stays the caller's and outlives the space. With `cut` any part of a mapping can be unmapped, for
// which all of the space is mapped by small pages.
Result<IommufdSpace> MakeIommufdSpace(int iommufd, bool cut);

}  // namespace berth::vmm
