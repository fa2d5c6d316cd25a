#pragma once

#include <set>
#include <string>

#include "common/pci_address.h"
#include "common/status.h"

namespace berth::agent {

// Which one-time-use devices (device_spec) were handed out: one empty file each, named by the address, in a
// folder that outlives the agent. Only somebody outside, who cleaned the device, removes a file; the device
// is offered again with the next report. Thread-safe.
class UsedDevices {
 public:
  explicit UsedDevices(std::string folder) : folder_(std::move(folder)) {}

  // Durable when it returns OK; may be repeated.
  Status Mark(const PciAddress& address) const;
  // An error when the folder is there but cannot be read: then no one-time-use device may be offered.
  Result<std::set<PciAddress>> Read() const;

  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

}  // namespace berth::agent
