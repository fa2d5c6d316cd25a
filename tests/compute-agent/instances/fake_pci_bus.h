#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "compute-agent/instances/device_binder.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent::testing {

// A tree of /sys/bus/pci with one device, driven by ixgbe, whose files act on it as the kernel does.
class FakePciBus {
 public:
  static constexpr PciAddress kAddress{0, 0x41, 0, 0};

  FakePciBus() {
    for (const char* driver : {"vfio-pci", "ixgbe"}) AddDriver(driver);
    std::filesystem::create_directories(Device());
    SetDriver("ixgbe");
  }

  void AddDriver(const std::string& name) {
    std::filesystem::create_directories(Drivers() / name);
    std::ofstream(Drivers() / name / "bind");
  }
  void RemoveDriver(const std::string& name) { std::filesystem::remove_all(Drivers() / name); }
  void RemoveDevice() { std::filesystem::remove_all(Device()); }
  void SetDriver(const std::string& name) {
    std::filesystem::remove(Device() / "driver");
    if (!name.empty()) std::filesystem::create_symlink(Drivers() / name, Device() / "driver");
  }
  // `before` is asked before each write.
  DeviceBinder Binder(std::function<Status()> before = OkStatus) {
    return DeviceBinder(folder_.path(),
                        [this, before](const std::string& path, std::string_view text) -> Status {
                          TRY(before());
                          return Write(path, text);
                        });
  }

  std::string root() const { return folder_.path(); }

  std::vector<std::string> log;
  bool iommu = true;   // else vfio-pci refuses the device
  bool resets = true;  // else the function's reset fails
  void AddReset() { std::ofstream(Device() / "reset"); }

 private:
  std::filesystem::path Bus() const { return folder_.path() / "sys/bus/pci"; }
  std::filesystem::path Drivers() const { return Bus() / "drivers"; }
  std::filesystem::path Device() const { return Bus() / "devices" / kAddress.ToString(); }

  Status Write(const std::string& path, std::string_view text) {
    std::string name = std::filesystem::path(path).lexically_relative(Bus());
    log.push_back(name + " " + std::string(text == "\n" ? "(newline)" : text));
    if (name.ends_with("driver_override")) {
      override_ = text == "\n" ? "" : std::string(text);
      std::ofstream(path) << (override_.empty() ? "(null)" : override_) << '\n';
    }
    if (name.ends_with("/reset") && !resets)
      return Internal("write " + path + ": Inappropriate ioctl for device");
    if (name.ends_with("driver/unbind")) SetDriver("");
    if (name == "drivers_probe") {
      std::string driver = override_.empty() ? "ixgbe" : override_;
      if (driver != "vfio-pci" || iommu) SetDriver(driver);
    }
    if (name == "drivers/ixgbe/bind") SetDriver("ixgbe");
    return OkStatus();
  }

  fakes::TempFolder folder_;
  std::string override_;
};

}  // namespace berth::agent::testing
