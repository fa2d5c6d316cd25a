#include "vmm/cvm/launch_pages.h"

#include <algorithm>
#include <cstring>

#include "common/status.h"

namespace berth::vmm {

LaunchPages::LaunchPages(uint64_t size)
    : size_((size + kPage - 1) / kPage * kPage),
      memory_(static_cast<uint8_t*>(std::aligned_alloc(kPage, std::max(size_, kPage)))) {
  CHECK(memory_ != nullptr);
  std::memset(memory_.get(), 0, std::max(size_, kPage));
}

LaunchPages::LaunchPages(uint64_t size, std::span<const uint8_t> data) : LaunchPages(size) {
  CHECK(data.size() <= size_);
  if (!data.empty()) std::memcpy(memory_.get(), data.data(), data.size());
}

}  // namespace berth::vmm
