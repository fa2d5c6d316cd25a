#pragma once

#include <set>
#include <vector>

#include "common/pci_address.h"
#include "common/status.h"
#include "compute-agent/instances/device_binder.h"
#include "compute-agent/instances/instance_record.h"
#include "compute-agent/sriov/vf_ports.h"
#include "placement/model/claim.h"

namespace berth::agent {

// Hands an instance's devices over to its VMM and takes them back. Every step may be repeated. A value type;
// what it refers to outlives it.
class DeviceHandover {
 public:
  DeviceHandover(const DeviceBinder& binder, const VfPorts* ports) : binder_(binder), ports_(ports) {}

  // What is to be done to the claim's devices, and undone later: to be recorded before HandOver. `known` are
  // those already recorded, whose first driver must not be forgotten; `unmanaged` keep their driver.
  Result<std::vector<BoundDevice>> Plan(const placement::Claim& claim, const std::set<PciAddress>& unmanaged,
                                        std::vector<BoundDevice> known) const;
  // Sets VFs up for their ports, binds vfio-pci, resets.
  Status HandOver(const placement::Claim& claim, const std::vector<BoundDevice>& devices) const;
  // Its driver, and the port's settings. A device that is gone is fine.
  Status TakeBack(const BoundDevice& device) const;

 private:
  const DeviceBinder& binder_;
  const VfPorts* ports_;  // null: this agent sets no ports up
};

}  // namespace berth::agent
