#include "common/mac_address.h"

#include <sys/random.h>

#include <algorithm>
#include <charconv>

namespace berth {

Result<MacAddress> ParseMacAddress(std::string_view text) {
  const Status bad =
      InvalidArgument("MAC address \"" + std::string(text) +
                          "\" must be six pairs of hexadecimal digits with colons, not multicast, not zero",
                      "mac", "for example 52:54:00:12:34:56");
  if (text.size() != 17) return bad;
  MacAddress mac{};
  for (size_t i = 0; i < mac.size(); ++i) {
    const char* begin = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, mac[i], 16);
    if (error != std::errc() || end != begin + 2) return bad;
    if (i + 1 < mac.size() && *end != ':') return bad;
  }
  const bool zero = std::all_of(mac.begin(), mac.end(), [](uint8_t byte) { return byte == 0; });
  if (zero || mac[0] & 1) return bad;
  return mac;
}

std::string MacAddressText(const MacAddress& mac) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : mac) {
    if (!text.empty()) text += ':';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

MacAddress RandomMacAddress() {
  MacAddress mac{};
  CHECK(getrandom(mac.data(), mac.size(), 0) == static_cast<ssize_t>(mac.size()));
  mac[0] = static_cast<uint8_t>((mac[0] & 0xfc) | 0x02);
  return mac;
}

}  // namespace berth
