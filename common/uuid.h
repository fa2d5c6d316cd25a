#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

// A 128-bit identifier (RFC 9562). The nil value (all zero) means "none". A value type.
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  // 8-4-4-4-12 hexadecimal digits of either case, or the 32 digits without dashes.
  static Result<Uuid> Parse(std::string_view text);
  // A new random (version 4) identifier from the kernel's generator.
  static Uuid Random();
  // A version 8 identifier that depends only on its inputs (not cryptographic), for example one per host and
  // PCI address.
  static Uuid FromName(const Uuid& name_space, std::string_view name);

  bool is_nil() const { return *this == Uuid{}; }
  std::string ToString() const;  // lower case, with dashes

  friend bool operator==(const Uuid&, const Uuid&) = default;
  // By the bytes from the first on, as the text sorts.
  friend std::strong_ordering operator<=>(const Uuid& a, const Uuid& b) {
    if (auto order = a.Word(0) <=> b.Word(0); order != 0) return order;
    return a.Word(1) <=> b.Word(1);
  }

 private:
  // Half of the bytes as a number, the first byte highest.
  uint64_t Word(size_t half) const {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + half * sizeof word, sizeof word);
    return std::endian::native == std::endian::little ? __builtin_bswap64(word) : word;
  }
};

}  // namespace berth

template <>
struct std::hash<berth::Uuid> {
  size_t operator()(const berth::Uuid& uuid) const noexcept {
    return std::hash<std::string_view>()(
        std::string_view(reinterpret_cast<const char*>(uuid.bytes.data()), uuid.bytes.size()));
  }
};
