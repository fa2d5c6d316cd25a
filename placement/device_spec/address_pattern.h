#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/pci_address.h"
#include "common/status.h"

namespace re2 {
class RE2;
}

namespace berth::placement {

// Which PCI addresses an entry of device_spec means. A value type; matching is thread-safe.
class AddressPattern {
 public:
  // Matches every address.
  AddressPattern() = default;

  // "[[[[domain]:]bus]:][slot][.[function]]": each field is a hexadecimal number, "*" or empty (both: any).
  // "0a:00" is bus 0a, slot 00; ":0a:00." any domain, bus 0a, slot 00, any function. kInvalidArgument: not of
  // this form (a partial glob such as "0*" is none); kOutOfRange: a field above its limit (seed 002: domain
  // FFFF, bus FF, slot 1F, function 7).
  static Result<AddressPattern> FromGlob(std::string_view text);

  // Regular expressions (RE2) for the four fields, "" for ".*". As in Nova a match begins at the first digit
  // but need not reach the last: "4" matches bus 41. Fields are lower case with leading zeros (0000, 41, 00,
  // 0). A field that is a plain number above its limit is kOutOfRange; an unreadable expression is
  // kInvalidArgument with the field's name as the error's field.
  struct Fields {
    std::string domain;
    std::string bus;
    std::string slot;
    std::string function;
  };
  static Result<AddressPattern> FromRegex(const Fields& fields);

  bool Matches(const PciAddress& address) const;
  // The one address, if all four fields are plain numbers. Such a pattern on a PF means its VFs too.
  const std::optional<PciAddress>& exact() const { return exact_; }

 private:
  std::array<std::optional<uint32_t>, 4> numbers_;              // domain, bus, slot, function
  std::array<std::shared_ptr<const re2::RE2>, 4> expressions_;  // shared: compiled once, copies are immutable
  std::optional<PciAddress> exact_;
};

}  // namespace berth::placement
