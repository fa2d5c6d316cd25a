#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/error_list.h"
#include "common/status.h"
#include "common/yaml.h"
#include "placement/device_spec/entry.h"
#include "placement/model/host.h"

namespace berth::agent {

using placement::DeviceSpecEntry;

// Traits of devices whose entry says live_migratable or one_time_use (as Nova reports them).
inline constexpr const char* kLiveMigratableTrait = "HW_PCI_LIVE_MIGRATABLE";
inline constexpr const char* kOneTimeUseTrait = "HW_PCI_ONE_TIME_USE";

struct DeviceSpec {
  std::vector<DeviceSpecEntry> entries;

  // The first entry that matches, or nullptr.
  const DeviceSpecEntry* Find(const placement::Device& device) const;
};

// Reads a sequence of entries (or one entry). `field` is the path for errors, for example "device_spec". All
// errors are reported at once. kInvalidArgument, kOutOfRange: unknown keys (with the nearest known one),
// malformed ids and addresses, addresses beyond the limits of seed 002, devname (always refused), bad tags.
Result<DeviceSpec> ParseDeviceSpec(const YamlNode& node, std::string_view field);

// The same for one entry: errors go to `errors`, what could be read is returned.
DeviceSpecEntry ParseDeviceSpecEntry(const YamlNode& node, const std::string& field, ErrorList& errors);

// What device_spec makes of a host's devices.
struct AssignedDevices {
  // Assignable devices with their tags, and the PFs of assignable VFs (assignable = false); by address.
  std::vector<placement::Device> devices;
  std::set<PciAddress> unmanaged;     // devices whose driver the agent leaves alone (managed: false)
  std::set<PciAddress> one_time_use;  // devices that are withheld after their first use
  std::vector<std::string> warnings;  // an entry that matches nothing, or everything
};

// `devices` are all of the host (tags, class and traits are overwritten). Refused, all at once and each with
// the names of both devices (seed 002): a PF and one of its VFs both configured; VFs of one PF with different
// resource class or traits; remote_managed: true on a PF; one_time_use (even false) on a VF.
Result<AssignedDevices> AssignDevices(const DeviceSpec& spec, std::vector<placement::Device> devices);

}  // namespace berth::agent
