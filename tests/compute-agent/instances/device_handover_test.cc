#include "compute-agent/instances/device_handover.h"

#include <gtest/gtest.h>

#include "tests/compute-agent/instances/fake_pci_bus.h"
#include "tests/compute-agent/sriov/fake_vf_links.h"

namespace berth::agent {
namespace {

using testing::FakePciBus;
using testing::FakeVfLinks;

constexpr PciAddress kVf = FakePciBus::kAddress;
constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};

// The bus' device as VF 0 of a PF with interface pf0.
class DeviceHandoverTest : public ::testing::Test {
 protected:
  DeviceHandoverTest() {
    namespace fs = std::filesystem;
    fs::path devices = fs::path(bus_.root()) / "sys/bus/pci/devices";
    fs::create_directories(devices / "0000:40:00.0/net/pf0");
    fs::create_symlink("../0000:40:00.0", devices / kVf.ToString() / "physfn");
    fs::create_symlink("../" + kVf.ToString(), devices / "0000:40:00.0/virtfn0");
    links_.Add("pf0", 0, {FakeVfLinks::kDrivers, 0, false, true});
    bus_.AddReset();
    claim_.devices.push_back({0, kVf, "port", 0, {.mac = kMac, .vlan = 7, .trusted = true}});
  }

  FakePciBus bus_;
  FakeVfLinks links_;
  DeviceBinder binder_ = bus_.Binder();
  VfPorts ports_{bus_.root(), links_};
  DeviceHandover handover_{binder_, &ports_};
  placement::Claim claim_;
};

TEST_F(DeviceHandoverTest, AVfIsSetUpBoundAndResetAndAllOfItIsTakenBack) {
  auto devices = handover_.Plan(claim_, {}, {});
  ASSERT_TRUE(devices.has_value());
  EXPECT_EQ(*devices, (std::vector<BoundDevice>{{kVf, "ixgbe", true, true}}));
  EXPECT_EQ(links_.changes, 0);
  ASSERT_EQ(handover_.HandOver(claim_, *devices), OkStatus());
  EXPECT_EQ(links_.At("pf0", 0), (VfState{kMac, 7, true, true}));
  EXPECT_EQ(*binder_.Driver(kVf), "vfio-pci");
  EXPECT_EQ(bus_.log.back(), "devices/0000:41:00.0/reset 1");
  ASSERT_EQ(handover_.TakeBack(devices->front()), OkStatus());
  EXPECT_EQ(links_.At("pf0", 0), (VfState{FakeVfLinks::kDrivers, 0, false, true}));
  EXPECT_EQ(*binder_.Driver(kVf), "ixgbe");
}

TEST_F(DeviceHandoverTest, TheFirstDriverIsRememberedOverARepetition) {
  auto devices = handover_.Plan(claim_, {}, {});
  ASSERT_EQ(handover_.HandOver(claim_, *devices), OkStatus());
  EXPECT_EQ(*handover_.Plan(claim_, {}, *devices), *devices);
}

TEST_F(DeviceHandoverTest, AnUnmanagedDeviceKeepsItsDriverButIsAPort) {
  auto devices = handover_.Plan(claim_, {kVf}, {});
  ASSERT_EQ(*devices, (std::vector<BoundDevice>{{kVf, "ixgbe", false, true}}));
  ASSERT_EQ(handover_.HandOver(claim_, *devices), OkStatus());
  EXPECT_EQ(links_.At("pf0", 0).mac, kMac);
  EXPECT_EQ(handover_.TakeBack(devices->front()), OkStatus());
  EXPECT_EQ(bus_.log, std::vector<std::string>());
  claim_.devices[0].port = {};
  EXPECT_EQ(*handover_.Plan(claim_, {kVf}, {}), std::vector<BoundDevice>());
}

TEST_F(DeviceHandoverTest, ADeviceThatIsNoPortIsLeftAsItsDriverHasIt) {
  claim_.devices[0].port = {};
  auto devices = handover_.Plan(claim_, {}, {});
  ASSERT_EQ(handover_.HandOver(claim_, *devices), OkStatus());
  ASSERT_EQ(handover_.TakeBack(devices->front()), OkStatus());
  EXPECT_EQ(links_.changes, 0);
}

TEST_F(DeviceHandoverTest, ADeviceThatCannotBeResetIsNotHandedOn) {
  bus_.resets = false;
  auto devices = handover_.Plan(claim_, {}, {});
  EXPECT_EQ(handover_.HandOver(claim_, *devices).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(handover_.TakeBack(devices->front()), OkStatus());
  EXPECT_EQ(*binder_.Driver(kVf), "ixgbe");
}

TEST_F(DeviceHandoverTest, AFailedPortStillGivesTheDriverBack) {
  auto devices = handover_.Plan(claim_, {}, {});
  ASSERT_EQ(handover_.HandOver(claim_, *devices), OkStatus());
  links_.broken = true;
  EXPECT_FALSE(handover_.TakeBack(devices->front()).ok());
  EXPECT_EQ(*binder_.Driver(kVf), "ixgbe");
  links_.broken = false;
  EXPECT_EQ(handover_.TakeBack(devices->front()), OkStatus());
}

}  // namespace
}  // namespace berth::agent
