#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/pci_address.h"
#include "common/status.h"
#include "placement/device_spec/address_pattern.h"

namespace berth::placement {

// What of a device an entry looks at.
struct DeviceIdentity {
  std::string_view vendor_id;   // four lower-case hexadecimal digits
  std::string_view product_id;  // likewise
  PciAddress address;
  std::optional<PciAddress> parent;  // the PF of a VF (or of a vDPA device)
};

// One entry of device_spec: which devices may be handed out, and with which tags (seed 002, "Configure
// nova-compute"; Nova's [pci]device_spec).
struct DeviceSpecEntry {
  std::optional<std::string> vendor_id;         // four lower-case hexadecimal digits; empty: any
  std::optional<std::string> product_id;        // likewise
  std::optional<AddressPattern> address;        // empty: any
  std::optional<std::string> physical_network;  // empty: no tag, or null (an overlay network)
  std::optional<bool> trusted;
  std::optional<bool> remote_managed;
  std::optional<bool> live_migratable;
  std::optional<bool> one_time_use;  // not handed out again before somebody cleaned it; not for VFs
  std::string resource_class;        // normalised; empty: CUSTOM_PCI_<VENDOR>_<PRODUCT>
  std::vector<std::string> traits;   // normalised, sorted
  bool managed = true;               // false: the agent leaves the device's driver alone
  int line = 0;                      // of the configuration file

  bool Matches(const DeviceIdentity& device) const;
};

// Why `devname` is not accepted; the same text wherever a device_spec is read.
inline constexpr const char* kDevnameRefused =
    "devname is refused: the name of a network device may change at a reboot";

// A four-digit PCI id, or empty for "*". Accepts fewer digits, either case, and a leading 0x.
// kInvalidArgument without field.
Result<std::optional<std::string>> ParsePciId(std::string_view text);

}  // namespace berth::placement
