#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace berth::vmm::acpi {

using Bytes = std::vector<uint8_t>;

// Appends values in little-endian order. A value type.
class ByteWriter {
 public:
  ByteWriter& U8(uint64_t value) { return Integer(value, 1); }
  ByteWriter& U16(uint64_t value) { return Integer(value, 2); }
  ByteWriter& U32(uint64_t value) { return Integer(value, 4); }
  ByteWriter& U64(uint64_t value) { return Integer(value, 8); }
  ByteWriter& Zeros(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  ByteWriter& Append(std::span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  // Exactly `width` bytes: cut off, or filled with `fill`.
  ByteWriter& Text(std::string_view text, size_t width, char fill = ' ') {
    for (size_t i = 0; i < width; ++i)
      bytes_.push_back(static_cast<uint8_t>(i < text.size() ? text[i] : fill));
    return *this;
  }

  const Bytes& bytes() const { return bytes_; }
  Bytes Take() { return std::move(bytes_); }

 private:
  ByteWriter& Integer(uint64_t value, size_t width) {
    for (size_t i = 0; i < width; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    return *this;
  }

  Bytes bytes_;
};

}  // namespace berth::vmm::acpi
