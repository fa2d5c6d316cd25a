#include "scheduler/service/port_settings.h"

#include <map>

namespace berth::scheduler {

void AddPortSettings(const RequestSpec& spec, const std::vector<PortRequest>& ports,
                     placement::Claim& claim) {
  // The requests of ports follow the order of the ports that need a device.
  std::map<uint32_t, const placement::PortSettings*> of_request;
  auto port = ports.begin();
  for (uint32_t request = 0; request < spec.pci.size(); ++request) {
    if (!spec.pci[request].from_port) continue;
    while (port != ports.end() && !NeedsDevice(*port)) ++port;
    if (port == ports.end()) break;
    of_request[request] = &port->settings;
    ++port;
  }
  for (placement::DeviceBinding& device : claim.devices) {
    if (auto found = of_request.find(device.request); found != of_request.end()) device.port = *found->second;
  }
}

}  // namespace berth::scheduler
