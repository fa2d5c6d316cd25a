#include "vmm/viommu/virtio_endpoint.h"

#include <algorithm>
#include <string>

namespace berth::vmm {

Status VirtioEndpoint::Translate(uint64_t address, uint64_t size, bool write,
                                 std::vector<std::span<uint8_t>>& pieces) {
  const uint64_t id = id_;
  if (id == kNoId) return NotFound("the device is not on the bus yet");
  if (size > 0 && address > UINT64_MAX - (size - 1)) {
    return OutOfRange("the range at address " + std::to_string(address) + " wraps");
  }
  while (size > 0) {
    const auto place = domains_.Translate(static_cast<uint32_t>(id), address, write);
    if (!place.has_value()) {
      const bool idle = place.error().code() == StatusCode::kFailedPrecondition;
      on_fault_({static_cast<uint32_t>(id), address, write,
                 idle ? IommuFault::Reason::kDomain : IommuFault::Reason::kMapping});
      return Status(place.error()).WithContext("I/O virtual address " + std::to_string(address));
    }
    const uint64_t length = std::min(size, place->length);
    if (length == 0) return OutOfRange("the last address of all");
    TRY_ASSIGN(const auto spans, memory_.Spans(Gpa{place->gpa}, length));
    pieces.insert(pieces.end(), spans.begin(), spans.end());
    address += length;
    size -= length;
  }
  return OkStatus();
}

}  // namespace berth::vmm
