#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/status.h"

namespace berth::vmm {

// Bytes of a kernel or initramfs that are read at offsets, so that an image goes straight into guest memory
// without a copy of it in the VMM. Its size is fixed when it is opened.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual uint64_t size() const = 0;
  // Fills all of `out`; kOutOfRange beyond the end (also when the file has shrunk meanwhile).
  virtual Status ReadAt(uint64_t offset, std::span<uint8_t> out) const = 0;
  // For error messages.
  virtual const std::string& name() const = 0;
};

// A regular file. Errors name the path.
Result<std::unique_ptr<ImageSource>> OpenImageFile(const std::string& path);
// Bytes that the caller keeps alive.
std::unique_ptr<ImageSource> ImageFromBytes(std::span<const uint8_t> bytes, std::string name);

}  // namespace berth::vmm
