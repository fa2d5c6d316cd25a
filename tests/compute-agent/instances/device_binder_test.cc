#include "compute-agent/instances/device_binder.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/compute-agent/instances/fake_pci_bus.h"

namespace berth::agent {
namespace {

using testing::FakePciBus;

constexpr PciAddress kDevice = FakePciBus::kAddress;

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

TEST(DeviceBinder, AnOverrideLeftByAnInterruptedHandOverIsTakenBack) {
  FakePciBus bus;
  int writes = 0;
  DeviceBinder interrupted = bus.Binder([&] { return ++writes > 1 ? Internal("killed") : OkStatus(); });
  EXPECT_FALSE(interrupted.BindToVfio(kDevice).ok());
  ASSERT_EQ(bus.log, std::vector<std::string>{"devices/0000:41:00.0/driver_override vfio-pci"});
  EXPECT_EQ(bus.Binder().Restore(kDevice, "ixgbe"), OkStatus());
  EXPECT_EQ(bus.log.back(), "devices/0000:41:00.0/driver_override (newline)");
  EXPECT_EQ(*bus.Binder().Driver(kDevice), "ixgbe");
}

TEST(DeviceBinder, AFunctionIsResetWhereItCanBe) {
  FakePciBus bus;
  EXPECT_EQ(bus.Binder().Reset(kDevice), OkStatus());
  EXPECT_EQ(bus.log, std::vector<std::string>());
  bus.AddReset();
  EXPECT_EQ(bus.Binder().Reset(kDevice), OkStatus());
  EXPECT_EQ(bus.log, std::vector<std::string>{"devices/0000:41:00.0/reset 1"});
  bus.resets = false;
  EXPECT_TRUE(bus.Binder().Reset(kDevice).message().starts_with(
      "device 0000:41:00.0 cannot be reset, so it is not handed on: write "));
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
