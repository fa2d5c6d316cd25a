#include "compute-agent/networks/net_source.h"

#include <algorithm>

namespace berth::agent {

Result<NetSource> ParseNetSource(std::string_view option) {
  NetSource source;
  bool bridged = false, tapped = false;
  while (!option.empty()) {
    const std::string_view part = option.substr(0, option.find(','));
    option.remove_prefix(std::min(option.size(), part.size() + 1));
    if (part.starts_with("bridge=")) {
      bridged = true;
      source.bridge = part.substr(std::string_view("bridge=").size());
      continue;
    }
    tapped = tapped || part.starts_with("tap=");
    source.remaining += (source.remaining.empty() ? "" : ",") + std::string(part);
  }
  if (!bridged) return source;
  const bool odd = std::any_of(source.bridge.begin(), source.bridge.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == ':' ||
           static_cast<unsigned char>(c) >= 0x7f;
  });
  if (source.bridge.empty() || source.bridge.size() > 15 || odd) {
    return InvalidArgument("\"" + source.bridge.substr(0, 32) + "\" is not the name of a bridge", "nets",
                           "1 to 15 characters");
  }
  if (tapped) return InvalidArgument("a network has one of tap= and bridge=", "nets");
  return source;
}

std::string TapName(const Uuid& instance, size_t net) {
  std::string digits = instance.ToString();
  std::erase(digits, '-');
  return "bt" + digits.substr(0, 10) + "n" + std::to_string(net % 100);
}

}  // namespace berth::agent
