#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// Where the addresses that a driver gives a virtio device lead when the device sits behind a virtual IOMMU
// (VIRTIO_F_ACCESS_PLATFORM, virtio 1.2, 6.1). Thread-safe.
class AddressTranslator {
 public:
  virtual ~AddressTranslator() = default;
  // Appends the guest memory behind [address, address + size) in order, piece by piece; no piece leaves a
  // mapping. kNotFound: not mapped, kPermissionDenied: not for this kind of access, both reported to the
  // guest as a fault; kOutOfRange: mapped to what is no RAM.
  virtual Status Translate(uint64_t address, uint64_t size, bool write,
                           std::vector<std::span<uint8_t>>& pieces) = 0;
  // Differs from an earlier value when a translation that was given since may hold no longer.
  virtual uint64_t generation() const = 0;
};

}  // namespace berth::vmm
