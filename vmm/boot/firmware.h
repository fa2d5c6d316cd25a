#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"
#include "vmm/boot/image_source.h"

namespace berth::vmm {

// An image of firmware that is no ELF file: read-only memory that ends at 4 GiB, where the processor's reset
// vector finds its last 16 bytes. Memory of its own, so that neither guest nor VMM changes the file.
class FirmwareRom {
 public:
  static constexpr uint64_t kMax = uint64_t{16} << 20;  // what lies free below 4 GiB

  // kInvalidArgument for a size that is not whole pages up to kMax.
  static Result<std::unique_ptr<FirmwareRom>> Load(const ImageSource& image);
  ~FirmwareRom();
  FirmwareRom(const FirmwareRom&) = delete;
  FirmwareRom& operator=(const FirmwareRom&) = delete;

  uint64_t base() const { return (uint64_t{1} << 32) - size_; }  // guest-physical
  uint64_t size() const { return size_; }
  uint8_t* host() const { return host_; }

 private:
  FirmwareRom(uint8_t* host, uint64_t size) : host_(host), size_(size) {}

  uint8_t* const host_;
  const uint64_t size_;
};

// Whether an image can be started as firmware: an ELF file with a PVH entry point, or one for FirmwareRom.
Status CheckFirmware(const ImageSource& image);

}  // namespace berth::vmm
