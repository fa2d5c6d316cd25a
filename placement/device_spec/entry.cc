#include "placement/device_spec/entry.h"

namespace berth::placement {

bool DeviceSpecEntry::Matches(const DeviceIdentity& device) const {
  if (vendor_id.has_value() && *vendor_id != device.vendor_id) return false;
  if (product_id.has_value() && *product_id != device.product_id) return false;
  if (!address.has_value() || address->Matches(device.address)) return true;
  // A full address of a PF means its VFs as well (Nova: the parent's address is compared).
  return device.parent.has_value() && address->exact() == device.parent;
}

Result<std::optional<std::string>> ParsePciId(std::string_view text) {
  if (text == "*") return std::optional<std::string>();
  std::string_view digits = text;
  if (digits.starts_with("0x") || digits.starts_with("0X")) digits.remove_prefix(2);
  bool hex = digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  if (digits.empty() || digits.size() > 4 || !hex) {
    return InvalidArgument("\"" + std::string(text) + "\" is no PCI id", "",
                           "0 to ffff in hexadecimal, or \"*\"");
  }
  std::string id(4 - digits.size(), '0');
  for (char c : digits) id += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::optional<std::string>(std::move(id));
}

}  // namespace berth::placement
