#include "compute-agent/instances/device_binder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

const PciAddress kDevice = *PciAddress::Parse("0000:41:00.0");

// A tree of /sys/bus/pci whose files act on it as the kernel does.
class FakePciBus {
 public:
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
  DeviceBinder Binder() {
    return DeviceBinder(folder_.path(),
                        [this](const std::string& path, std::string_view text) { return Write(path, text); });
  }

  std::vector<std::string> log;
  bool iommu = true;  // else vfio-pci refuses the device

 private:
  std::filesystem::path Bus() const { return folder_.path() / "sys/bus/pci"; }
  std::filesystem::path Drivers() const { return Bus() / "drivers"; }
  std::filesystem::path Device() const { return Bus() / "devices" / kDevice.ToString(); }

  Status Write(const std::string& path, std::string_view text) {
    std::string name = std::filesystem::path(path).lexically_relative(Bus());
    log.push_back(name + " " + std::string(text == "\n" ? "(newline)" : text));
    if (name.ends_with("driver_override")) override_ = text == "\n" ? "" : std::string(text);
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

TEST(DeviceBinder, TheDeviceGoesToVfioAndBackToItsOwnDriver) {
  FakePciBus bus;
  DeviceBinder binder = bus.Binder();
  ASSERT_TRUE(binder.Available());
  ASSERT_EQ(*binder.Driver(kDevice), "ixgbe");

  EXPECT_EQ(binder.BindToVfio(kDevice), OkStatus());
  EXPECT_EQ(*binder.Driver(kDevice), "vfio-pci");
  EXPECT_EQ(binder.Restore(kDevice, "ixgbe"), OkStatus());

  EXPECT_EQ(*binder.Driver(kDevice), "ixgbe");
  EXPECT_EQ(
      bus.log,
      (std::vector<std::string>{
          "devices/0000:41:00.0/driver_override vfio-pci", "devices/0000:41:00.0/driver/unbind 0000:41:00.0",
          "drivers_probe 0000:41:00.0", "devices/0000:41:00.0/driver_override (newline)",
          "devices/0000:41:00.0/driver/unbind 0000:41:00.0", "drivers/ixgbe/bind 0000:41:00.0"}));
}

TEST(DeviceBinder, EveryStepMayBeRepeated) {
  FakePciBus bus;
  EXPECT_EQ(bus.Binder().BindToVfio(kDevice), OkStatus());
  size_t writes = bus.log.size();
  EXPECT_EQ(bus.Binder().BindToVfio(kDevice), OkStatus());
  EXPECT_EQ(bus.log.size(), writes);
  EXPECT_EQ(bus.Binder().Restore(kDevice, "ixgbe"), OkStatus());
  writes = bus.log.size();
  EXPECT_EQ(bus.Binder().Restore(kDevice, "ixgbe"), OkStatus());
  EXPECT_EQ(bus.log.size(), writes);
}

TEST(DeviceBinder, ADeviceWithoutDriverStaysWithoutOne) {
  FakePciBus bus;
  bus.SetDriver("");
  EXPECT_EQ(bus.Binder().BindToVfio(kDevice), OkStatus());
  EXPECT_EQ(bus.Binder().Restore(kDevice, ""), OkStatus());
  EXPECT_EQ(*bus.Binder().Driver(kDevice), "");
}

TEST(DeviceBinder, ADeviceThatDoesNotBindIsAnError) {
  FakePciBus bus;
  bus.iommu = false;
  EXPECT_EQ(bus.Binder().BindToVfio(kDevice).message(),
            "device 0000:41:00.0 did not bind to vfio-pci (its driver is \"\")");
  EXPECT_EQ(bus.Binder().Restore(kDevice, "ixgbe"), OkStatus());
  EXPECT_EQ(*bus.Binder().Driver(kDevice), "ixgbe");
}

TEST(DeviceBinder, AMissingDeviceOrDriverIsToldOrForgotten) {
  FakePciBus bus;
  bus.RemoveDriver("vfio-pci");
  EXPECT_FALSE(bus.Binder().Available());
  bus.RemoveDevice();
  EXPECT_EQ(bus.Binder().BindToVfio(kDevice).code(), StatusCode::kNotFound);
  EXPECT_EQ(bus.Binder().Restore(kDevice, "ixgbe"), OkStatus());
}

}  // namespace
}  // namespace berth::agent
