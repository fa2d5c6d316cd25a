#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

// A number of bytes with checked arithmetic: a sum or product that does not fit 64 bits is an empty optional,
// never a wrapped value. A value type.
class ByteSize {
 public:
  constexpr ByteSize() = default;
  constexpr explicit ByteSize(uint64_t bytes) : bytes_(bytes) {}

  // A decimal number with at most one suffix: K M G T (binary), KiB MiB GiB TiB, or B; case-insensitive,
  // blanks around it ignored. "1KMG", "", "-1" and overflow are errors (kInvalidArgument, kOutOfRange).
  static Result<ByteSize> Parse(std::string_view text);

  constexpr uint64_t bytes() const { return bytes_; }
  constexpr uint64_t mebibytes() const { return bytes_ >> 20; }  // rounded down
  std::optional<ByteSize> Plus(ByteSize other) const;
  std::optional<ByteSize> Minus(ByteSize other) const;  // empty below zero
  std::optional<ByteSize> Times(uint64_t factor) const;
  // Rounded up to a multiple of `unit` (> 0); empty on overflow.
  std::optional<ByteSize> RoundedUpTo(ByteSize unit) const;
  bool IsMultipleOf(ByteSize unit) const { return unit.bytes_ != 0 && bytes_ % unit.bytes_ == 0; }

  // Exact and short: the largest binary unit that divides it, "2G", "2500K", "17".
  std::string ToString() const;
  // For people: three significant digits with unit, "1.95 GiB".
  std::string ToHuman() const;

  friend constexpr auto operator<=>(ByteSize, ByteSize) = default;

 private:
  uint64_t bytes_ = 0;
};

constexpr ByteSize KiB(uint64_t n) {
  return ByteSize(n << 10);
}
constexpr ByteSize MiB(uint64_t n) {
  return ByteSize(n << 20);
}
constexpr ByteSize GiB(uint64_t n) {
  return ByteSize(n << 30);
}

}  // namespace berth
