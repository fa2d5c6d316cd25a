#include "compute-agent/instances/device_binder.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace berth::agent {
namespace {

constexpr const char* kVfio = "vfio-pci";

bool Exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

DeviceBinder::DeviceBinder(std::string root, Write write) : write_(std::move(write)) {
  while (root.ends_with('/')) root.pop_back();
  pci_ = root + "/sys/bus/pci";
}

std::string DeviceBinder::DevicePath(const PciAddress& address) const {
  return pci_ + "/devices/" + address.ToString();
}

bool DeviceBinder::Available() const {
  return Exists(pci_ + "/drivers/" + kVfio);
}

Result<std::string> DeviceBinder::Driver(const PciAddress& address) const {
  std::string device = DevicePath(address);
  if (!Exists(device)) return NotFound("there is no PCI device " + address.ToString());
  char target[4096];
  ssize_t length = ::readlink((device + "/driver").c_str(), target, sizeof target);
  if (length < 0) {
    if (errno == ENOENT) return std::string();
    return ErrnoStatus(device + "/driver", errno);
  }
  std::string_view text(target, static_cast<size_t>(length));
  return std::string(text.substr(text.rfind('/') + 1));
}

Status DeviceBinder::Unbind(const PciAddress& address) const {
  return write_(DevicePath(address) + "/driver/unbind", address.ToString());
}

Status DeviceBinder::BindToVfio(const PciAddress& address) const {
  TRY_ASSIGN(std::string driver, Driver(address));
  if (driver == kVfio) return OkStatus();
  TRY(write_(DevicePath(address) + "/driver_override", kVfio));
  if (!driver.empty()) TRY(Unbind(address));
  TRY(write_(pci_ + "/drivers_probe", address.ToString()));
  TRY_ASSIGN(driver, Driver(address));
  if (driver == kVfio) return OkStatus();
  return {StatusCode::kFailedPrecondition,
          "device " + address.ToString() + " did not bind to vfio-pci (its driver is \"" + driver + "\")",
          "devices", "is the IOMMU on? see the kernel's log"};
}

Status DeviceBinder::Reset(const PciAddress& address) const {
  std::string path = DevicePath(address) + "/reset";
  if (!Exists(path)) return OkStatus();
  Status written = write_(path, "1");
  if (written.ok()) return written;
  return {StatusCode::kFailedPrecondition,
          "device " + address.ToString() + " cannot be reset, so it is not handed on: " + written.message(),
          "devices"};
}

Status DeviceBinder::Restore(const PciAddress& address, const std::string& driver) const {
  Result<std::string> bound = Driver(address);
  if (!bound.has_value()) {
    return bound.error().code() == StatusCode::kNotFound ? OkStatus() : bound.error();
  }
  // An agent that ended half-way may have left the override on a device that is where it should be.
  Result<std::string> override = ReadFile(DevicePath(address) + "/driver_override");
  if (driver != kVfio && override.has_value() && override->starts_with(kVfio)) {
    TRY(write_(DevicePath(address) + "/driver_override", "\n"));
  }
  if (*bound == driver) return OkStatus();
  if (!bound->empty()) TRY(Unbind(address));
  if (driver.empty()) return OkStatus();
  std::string bind = pci_ + "/drivers/" + driver + "/bind";
  if (Exists(bind)) return write_(bind, address.ToString());
  return write_(pci_ + "/drivers_probe", address.ToString());
}

}  // namespace berth::agent
