#pragma once

#include <cstdint>
#include <optional>

#include "common/mac_address.h"

namespace berth::placement {

// How the PF's driver is to present a VF to its port. What is not set keeps the driver's default.
struct PortSettings {
  static constexpr uint16_t kMaxVlan = 4094;

  std::optional<MacAddress> mac = std::nullopt;
  uint16_t vlan = 0;  // 1..4094: every frame of the VF is in it; 0: none
  std::optional<bool> trusted =
      std::nullopt;  // the guest may change MAC and go promiscuous (seed 002, "trusted")
  std::optional<bool> spoof_check = std::nullopt;  // frames with another source MAC are dropped

  bool any() const { return mac.has_value() || vlan != 0 || trusted.has_value() || spoof_check.has_value(); }
  friend bool operator==(const PortSettings&, const PortSettings&) = default;
};

}  // namespace berth::placement
