#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

// A PCI function's address. Limits are those of seed 002, "Limitations": domain FFFF, bus FF, slot 1F,
// function 7. Devices that the kernel reports beyond them (for example behind Intel VMD, domain 10000) are
// ignored with a warning by discovery; Parse tells them apart by kOutOfRange. A value type.
struct PciAddress {
  uint16_t domain = 0;
  uint8_t bus = 0;
  uint8_t slot = 0;
  uint8_t function = 0;

  // "dddd:bb:ss.f" in hexadecimal of either case, as sysfs writes it; the domain has 4 to 8 digits.
  // Errors: kInvalidArgument (not of this form), kOutOfRange (a field above its limit; the message names it).
  static Result<PciAddress> Parse(std::string_view text);
  // "dddd:bb:ss.f", lower case.
  std::string ToString() const;
  // All four fields in 29 bits, in order of comparison.
  uint32_t ToKey() const {
    return uint32_t{domain} << 16 | uint32_t{bus} << 8 | uint32_t{slot} << 3 | function;
  }

  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
};

}  // namespace berth

template <>
struct std::hash<berth::PciAddress> {
  size_t operator()(const berth::PciAddress& address) const noexcept {
    return std::hash<uint32_t>()(address.ToKey());
  }
};
