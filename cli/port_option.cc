#include "cli/port_option.h"

#include <charconv>
#include <functional>
#include <map>
#include <set>
#include <string_view>

namespace berth::cli {
namespace {

constexpr const char* kKeys = "keys: id vnic network trusted mac vlan spoof-check numa-policy";

Result<bool> ParseSwitch(const std::string& key, const std::string& value) {
  if (value == "on" || value == "true") return true;
  if (value == "off" || value == "false") return false;
  return InvalidArgument(key + "=" + value, "port", "allowed: on, off");
}

Status SetVlan(const std::string& value, v1::Port& port) {
  uint32_t vlan = 0;
  const char* end = value.data() + value.size();
  auto [stop, error] = std::from_chars(value.data(), end, vlan);
  if (error != std::errc() || stop != end || vlan < 1 || vlan > 4094) {
    return InvalidArgument("vlan=" + value, "port", "allowed: 1..4094");
  }
  port.mutable_settings()->set_vlan(vlan);
  return OkStatus();
}

Status Set(const std::string& key, const std::string& value, v1::Port& port) {
  if (key == "id")
    port.set_id(value);
  else if (key == "vnic")
    port.set_vnic_type(value);
  else if (key == "network")
    port.set_physical_network(value);
  else if (key == "numa-policy")
    port.set_numa_policy(value);
  else if (key == "mac")
    port.mutable_settings()->set_mac_address(value);
  else if (key == "vlan")
    return SetVlan(value, port);
  else if (key == "trusted") {
    TRY_ASSIGN(bool on, ParseSwitch(key, value));
    port.set_trusted(on);
  } else if (key == "spoof-check") {
    TRY_ASSIGN(bool on, ParseSwitch(key, value));
    port.mutable_settings()->set_spoof_check(on);
  } else {
    return InvalidArgument("\"" + key + "\" is no key of a port", "port", kKeys);
  }
  return OkStatus();
}

}  // namespace

Result<v1::Port> ParsePort(const std::string& text, const std::string& default_id) {
  v1::Port port;
  port.set_id(default_id);
  port.set_vnic_type("direct");
  std::set<std::string> seen;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    size_t equals = item.find('=');
    std::string key(item.substr(0, equals));
    std::string value(equals == std::string_view::npos ? "" : item.substr(equals + 1));
    if (value.empty())
      return InvalidArgument("\"" + std::string(item) + "\" is not KEY=VALUE", "port", kKeys);
    if (!seen.insert(key).second) return InvalidArgument(key + " is given twice", "port");
    TRY(Set(key, value, port));
  }
  if (seen.empty()) return InvalidArgument("\"\" is not KEY=VALUE", "port", kKeys);
  return port;
}

}  // namespace berth::cli
