#include "placement/model/held_families.h"

#include "placement/model/capacity.h"

namespace berth::placement {
namespace {

const Device* AssignableVf(const HostReport& report, const PciAddress& pf) {
  for (const Device& device : report.devices) {
    if (device.type == DeviceType::kVf && device.assignable && device.parent == pf) return &device;
  }
  return nullptr;
}

Status Refuse(const char* removed, const HeldDevice& held, const char* configured, const Device& instead) {
  return FailedPrecondition(std::string(removed) + " " + held.address.ToString() + " is held by " +
                                held.holder + " and no longer configured, but " + configured + " " +
                                instead.address.ToString() + " is",
                            "device_spec",
                            "configure " + held.address.ToString() +
                                " until its instance is deleted: a PF and its VFs cannot both be handed out");
}

}  // namespace

Status CheckHeldFamilies(const HostReport& reported, const std::vector<HeldDevice>& held) {
  for (const HeldDevice& device : held) {
    const Device* now = FindDevice(reported, device.address);
    if (now != nullptr && now->assignable) continue;
    if (!device.parent.has_value()) {
      const Device* vf = AssignableVf(reported, device.address);
      if (vf != nullptr) return Refuse("the PF", device, "its VF", *vf);
      continue;
    }
    const Device* pf = FindDevice(reported, *device.parent);
    if (pf != nullptr && pf->assignable) return Refuse("the VF", device, "its PF", *pf);
  }
  return OkStatus();
}

Status CheckHeldFamilies(const HostReport& reported, const HostReport& previous, const HostUsage& usage) {
  std::vector<HeldDevice> held;
  for (const auto& [address, consumer] : usage.devices) {
    const Device* before = FindDevice(previous, address);
    if (before == nullptr) continue;
    held.push_back({address, before->parent, "instance " + consumer.ToString()});
  }
  return CheckHeldFamilies(reported, held);
}

}  // namespace berth::placement
