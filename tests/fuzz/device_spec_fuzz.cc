// device_spec from any bytes: an error or a spec, and the spec can be applied to a host.
#include <cstdint>
#include <string_view>

#include "compute-agent/devices/device_spec.h"

using berth::PciAddress;
using berth::placement::Device;
using berth::placement::DeviceType;

namespace {

std::vector<Device> Host() {
  std::vector<Device> devices;
  for (uint8_t function = 0; function < 4; ++function) {
    Device device;
    device.address = PciAddress{0, 0x41, function > 1 ? uint8_t{2} : uint8_t{0}, function};
    device.vendor_id = "8086";
    device.product_id = function > 1 ? "154c" : "1572";
    device.type = function > 1 ? DeviceType::kVf : DeviceType::kPf;
    if (function > 1) device.parent = PciAddress{0, 0x41, 0, 0};
    devices.push_back(device);
  }
  return devices;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  berth::Result<berth::YamlNode> node = berth::ParseYaml(text, "fuzz");
  if (!node.has_value()) return 0;
  berth::Result<berth::agent::DeviceSpec> spec = berth::agent::ParseDeviceSpec(*node, "device_spec");
  if (!spec.has_value()) return 0;
  berth::Result<berth::agent::AssignedDevices> assigned = berth::agent::AssignDevices(*spec, Host());
  if (assigned.has_value() && assigned->devices.size() > 4) __builtin_trap();
  return 0;
}
