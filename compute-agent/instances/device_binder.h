#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/file.h"
#include "common/pci_address.h"
#include "common/status.h"

namespace berth::agent {

// Hands PCI devices to the vfio-pci driver and back, through driver_override in sysfs. Every step may be
// repeated: a device that is where it should be is left alone. Thread-compatible.
class DeviceBinder {
 public:
  using Write = std::function<Status(const std::string& path, std::string_view text)>;

  // `root` is the directory that holds sys/ ("/" or a test's tree); `write` writes to one of its files.
  explicit DeviceBinder(std::string root, Write write = WriteToFile);

  // The vfio-pci driver is registered.
  bool Available() const;
  // The driver that is bound now; empty: none. kNotFound when there is no such device.
  Result<std::string> Driver(const PciAddress& address) const;
  // Unbinds the present driver and binds vfio-pci. kFailedPrecondition when the kernel did not bind it.
  Status BindToVfio(const PciAddress& address) const;
  // Resets the function (FLR or what else it has), so that nothing of its last user is left: seed 002 hands a
  // device from guest to guest. kFailedPrecondition when the kernel cannot. A device without any reset is
  // left as it is.
  Status Reset(const PciAddress& address) const;
  // Gives the device back to `driver` (empty: leaves it without one). A device that is gone is fine.
  Status Restore(const PciAddress& address, const std::string& driver) const;

 private:
  std::string DevicePath(const PciAddress& address) const;
  Status Unbind(const PciAddress& address) const;

  std::string pci_;  // <root>/sys/bus/pci
  Write write_;
};

}  // namespace berth::agent
