#include "common/pci_address.h"

#include <charconv>
#include <cstdio>

namespace berth {
namespace {

// Hexadecimal field of min_digits..max_digits; -1 if it is not one.
int64_t ParseHex(std::string_view text, size_t min_digits, size_t max_digits) {
  if (text.size() < min_digits || text.size() > max_digits) return -1;
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return -1;
  return static_cast<int64_t>(value);
}

Status TooLarge(std::string_view text, const char* field, const char* limit) {
  return OutOfRange("PCI address \"" + std::string(text) + "\": " + field + " is out of range", field,
                    std::string("allowed: 0..") + limit);
}

}  // namespace

Result<PciAddress> PciAddress::Parse(std::string_view text) {
  size_t first = text.find(':');
  size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  size_t dot = second == std::string_view::npos ? second : text.find('.', second + 1);
  int64_t domain = -1;
  int64_t bus = -1;
  int64_t slot = -1;
  int64_t function = -1;
  if (dot != std::string_view::npos) {
    domain = ParseHex(text.substr(0, first), 4, 8);
    bus = ParseHex(text.substr(first + 1, second - first - 1), 2, 4);
    slot = ParseHex(text.substr(second + 1, dot - second - 1), 2, 4);
    function = ParseHex(text.substr(dot + 1), 1, 4);
  }
  if (domain < 0 || bus < 0 || slot < 0 || function < 0) {
    return InvalidArgument("\"" + std::string(text) + "\" is not a PCI address", {},
                           "expected domain:bus:slot.function in hexadecimal, such as 0000:41:00.0");
  }
  if (domain > 0xFFFF) return TooLarge(text, "domain", "ffff");
  if (bus > 0xFF) return TooLarge(text, "bus", "ff");
  if (slot > 0x1F) return TooLarge(text, "slot", "1f");
  if (function > 7) return TooLarge(text, "function", "7");
  return PciAddress{static_cast<uint16_t>(domain), static_cast<uint8_t>(bus), static_cast<uint8_t>(slot),
                    static_cast<uint8_t>(function)};
}

std::string PciAddress::ToString() const {
  char text[16];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", domain, bus, slot, function);
  return text;
}

}  // namespace berth
