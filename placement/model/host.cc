#include "placement/model/host.h"

namespace berth::placement {

const char* DeviceTypeName(DeviceType type) {
  switch (type) {
    case DeviceType::kPci:
      return "type-PCI";
    case DeviceType::kPf:
      return "type-PF";
    case DeviceType::kVf:
      return "type-VF";
  }
  return "unknown";
}

std::optional<DeviceType> ParseDeviceType(std::string_view name) {
  for (DeviceType type : {DeviceType::kPci, DeviceType::kPf, DeviceType::kVf}) {
    if (name == DeviceTypeName(type)) return type;
  }
  return std::nullopt;
}

}  // namespace berth::placement
