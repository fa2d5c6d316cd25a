#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/mac_address.h"
#include "common/status.h"
#include "placement/model/port_settings.h"

namespace berth::agent {

// A VF as its PF's driver presents it. Empty: the driver does not tell.
struct VfState {
  std::optional<MacAddress> mac = std::nullopt;
  std::optional<uint16_t> vlan = std::nullopt;  // 0: none
  std::optional<bool> trusted = std::nullopt;
  std::optional<bool> spoof_check = std::nullopt;

  friend bool operator==(const VfState&, const VfState&) = default;
};

// What drivers of PFs know and change of their VFs: `ip link show PF`, `ip link set PF vf N ...`.
class VfLinks {
 public:
  virtual ~VfLinks() = default;

  // kNotFound: no such interface, or it has no VF of this number.
  virtual Result<VfState> Read(const std::string& netdev, uint32_t vf) = 0;
  // Changes what `settings` has, in one request; a VLAN of 0 takes the VLAN away only with `set_vlan`.
  // kFailedPrecondition: the driver refuses or cannot.
  virtual Status Change(const std::string& netdev, uint32_t vf, const placement::PortSettings& settings,
                        bool set_vlan) = 0;
};

}  // namespace berth::agent
