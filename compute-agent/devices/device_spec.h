#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "common/yaml.h"
#include "compute-agent/devices/address_pattern.h"
#include "placement/model/host.h"

namespace berth::agent {

// One entry of device_spec: which devices may be handed out, and with which tags (seed 002, "Configure
// nova-compute"; Nova's [pci]device_spec in YAML).
struct DeviceSpecEntry {
  std::optional<std::string> vendor_id;         // four lower-case hexadecimal digits; empty: any
  std::optional<std::string> product_id;        // likewise
  std::optional<AddressPattern> address;        // empty: any
  std::optional<std::string> physical_network;  // empty: no tag, or null (an overlay network)
  std::optional<bool> trusted;
  std::optional<bool> remote_managed;
  std::string resource_class;       // normalised; empty: CUSTOM_PCI_<VENDOR>_<PRODUCT>
  std::vector<std::string> traits;  // normalised, sorted
  bool managed = true;              // false: the agent leaves the device's driver alone
  int line = 0;                     // of the configuration file

  bool Matches(const placement::Device& device) const;
};

struct DeviceSpec {
  std::vector<DeviceSpecEntry> entries;

  // The first entry that matches, or nullptr.
  const DeviceSpecEntry* Find(const placement::Device& device) const;
};

// Reads a sequence of entries (or one entry). `field` is the path for errors, for example "device_spec". All
// errors are reported at once. kInvalidArgument, kOutOfRange: unknown keys (with the nearest known one),
// malformed ids and addresses, addresses beyond the limits of seed 002, devname (always refused), bad tags.
Result<DeviceSpec> ParseDeviceSpec(const YamlNode& node, std::string_view field);

// What device_spec makes of a host's devices.
struct AssignedDevices {
  // Assignable devices with their tags, and the PFs of assignable VFs (assignable = false); by address.
  std::vector<placement::Device> devices;
  std::set<PciAddress> unmanaged;     // devices whose driver the agent leaves alone (managed: false)
  std::vector<std::string> warnings;  // an entry that matches nothing, or everything
};

// `devices` are all of the host (tags, class and traits are overwritten). Refused, all at once and each with
// the names of both devices (seed 002): a PF and one of its VFs both configured; VFs of one PF with different
// resource class or traits; remote_managed: true on a PF.
Result<AssignedDevices> AssignDevices(const DeviceSpec& spec, std::vector<placement::Device> devices);

}  // namespace berth::agent
