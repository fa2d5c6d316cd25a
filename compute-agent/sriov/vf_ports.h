#pragma once

#include <cstdint>
#include <string>

#include "common/pci_address.h"
#include "common/status.h"
#include "compute-agent/sriov/vf_links.h"

namespace berth::agent {

// A VF by the names of network drivers: its PF's interface and its number there.
struct VfPlace {
  std::string netdev;
  uint32_t number = 0;
};

// The VFs of this host as ports of a network. Every step may be repeated. Thread-compatible.
class VfPorts {
 public:
  // `root` holds sys/; `links` outlives this.
  VfPorts(std::string root, VfLinks& links);

  // kNotFound: no such device. kFailedPrecondition: not a VF, or its PF has no network interface.
  Result<VfPlace> Find(const PciAddress& vf) const;
  // Presents the VF as its port wants it. What `settings` leaves open becomes the kernel's default (no VLAN,
  // not trusted, spoof check on), whatever an earlier guest had; the MAC address stays. Changes only what
  // differs. kFailedPrecondition: the driver refuses or cannot.
  Status Apply(const PciAddress& vf, const placement::PortSettings& settings) const;
  // Takes VLAN, trust and MAC address back. A VF that is gone is fine.
  Status Reset(const PciAddress& vf) const;

 private:
  std::string devices_;  // <root>/sys/bus/pci/devices
  VfLinks& links_;
};

}  // namespace berth::agent
