#include "compute-agent/devices/device_domains.h"

#include <algorithm>
#include <cctype>

namespace berth::agent {

bool IsDomainName(const std::string& text) {
  size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size() || text.size() > 255) return false;
  bool kind = std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(colon),
                          [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
  return kind && text.find_first_of(" ,\t\n", colon) == std::string::npos;
}

std::vector<std::string> DomainsOf(const PciDeviceInfo& device, const ConfiguredDomains& configured) {
  std::vector<std::string> domains;
  if (!device.bridges.empty()) domains.push_back("root:" + device.bridges.front().ToString());
  for (size_t i = 1; i + 1 < device.bridges.size(); i += 2)
    domains.push_back("switch:" + device.bridges[i].ToString());
  for (const auto& [name, addresses] : configured) {
    auto in = [&](const PciAddress& address) {
      return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    };
    if (in(device.address) || (device.parent && in(*device.parent))) domains.push_back(name);
  }
  std::sort(domains.begin(), domains.end());
  domains.erase(std::unique(domains.begin(), domains.end()), domains.end());
  return domains;
}

}  // namespace berth::agent
