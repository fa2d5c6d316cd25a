#include "placement/wire/port_settings.h"

namespace berth::wire {

void PortSettingsToProto(const placement::PortSettings& settings, v1::PortSettings* out) {
  if (settings.mac) out->set_mac_address(MacAddressText(*settings.mac));
  out->set_vlan(settings.vlan);
  if (settings.trusted) out->set_trusted(*settings.trusted);
  if (settings.spoof_check) out->set_spoof_check(*settings.spoof_check);
}

Status PortSettingsFromProto(const v1::PortSettings& in, const std::string& at,
                             placement::PortSettings& out) {
  if (!in.mac_address().empty()) {
    Result<MacAddress> mac = ParseMacAddress(in.mac_address().substr(0, 64));
    if (!mac.has_value()) {
      return InvalidArgument(mac.error().message(), at + ".mac_address", mac.error().hint());
    }
    out.mac = *mac;
  }
  if (in.vlan() > placement::PortSettings::kMaxVlan) {
    return InvalidArgument("VLAN " + std::to_string(in.vlan()) + " is out of range", at + ".vlan",
                           "allowed: 1.." + std::to_string(placement::PortSettings::kMaxVlan) + ", 0: none");
  }
  out.vlan = static_cast<uint16_t>(in.vlan());
  if (in.has_trusted()) out.trusted = in.trusted();
  if (in.has_spoof_check()) out.spoof_check = in.spoof_check();
  return OkStatus();
}

}  // namespace berth::wire
