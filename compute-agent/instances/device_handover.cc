#include "compute-agent/instances/device_handover.h"

#include <algorithm>
#include <utility>

namespace berth::agent {
namespace {

const placement::DeviceBinding* Find(const placement::Claim& claim, const PciAddress& address) {
  auto found = std::find_if(claim.devices.begin(), claim.devices.end(),
                            [&](const placement::DeviceBinding& d) { return d.address == address; });
  return found == claim.devices.end() ? nullptr : &*found;
}

}  // namespace

Result<std::vector<BoundDevice>> DeviceHandover::Plan(const placement::Claim& claim,
                                                      const std::set<PciAddress>& unmanaged,
                                                      std::vector<BoundDevice> known) const {
  for (const placement::DeviceBinding& device : claim.devices) {
    BoundDevice bound{device.address, "", !unmanaged.contains(device.address), device.port.any()};
    if (!bound.managed && !bound.port) continue;
    if (bound.managed && !binder_.Available()) {
      return FailedPrecondition(
          "device " + device.address.ToString() + " cannot be attached: the vfio-pci driver is not loaded",
          "devices", "modprobe vfio-pci");
    }
    auto same = [&](const BoundDevice& other) { return other.address == device.address; };
    if (std::any_of(known.begin(), known.end(), same)) continue;
    TRY_ASSIGN(bound.original_driver, binder_.Driver(device.address));
    known.push_back(std::move(bound));
  }
  return known;
}

Status DeviceHandover::HandOver(const placement::Claim& claim,
                                const std::vector<BoundDevice>& devices) const {
  for (const BoundDevice& device : devices) {
    const placement::DeviceBinding* binding = Find(claim, device.address);
    if (device.port && binding != nullptr) {
      if (ports_ == nullptr) return FailedPrecondition("this agent sets no VFs up for ports", "devices");
      TRY(ports_->Apply(device.address, binding->port));
    }
    if (!device.managed) continue;
    TRY(binder_.BindToVfio(device.address));
    TRY(binder_.Reset(device.address));
  }
  return OkStatus();
}

Status DeviceHandover::TakeBack(const BoundDevice& device) const {
  // The port first: a driver of the host that takes the VF reads its address then.
  Status port = device.port && ports_ != nullptr ? ports_->Reset(device.address) : OkStatus();
  if (device.managed) TRY(binder_.Restore(device.address, device.original_driver));
  return port;
}

}  // namespace berth::agent
