#include "compute-agent/sriov/vf_ports.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/compute-agent/sriov/fake_vf_links.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

using placement::PortSettings;
using testing::FakeVfLinks;

const PciAddress kPf = *PciAddress::Parse("0000:41:00.0");
const PciAddress kVf = *PciAddress::Parse("0000:41:10.1");
constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};

// A PF `pf0` with four VFs, of which kVf is number 3.
class VfPortsTest : public ::testing::Test {
 protected:
  VfPortsTest() {
    namespace fs = std::filesystem;
    fs::path devices = folder_.path() / "sys/bus/pci/devices";
    fs::create_directories(devices / kPf.ToString() / "net/pf0");
    fs::create_directories(devices / kVf.ToString());
    fs::create_symlink("../" + kPf.ToString(), devices / kVf.ToString() / "physfn");
    fs::create_symlink("../0000:41:10.9", devices / kPf.ToString() / "virtfn2");
    fs::create_symlink("../" + kVf.ToString(), devices / kPf.ToString() / "virtfn3");
    links_.Add("pf0", 3, {FakeVfLinks::kDrivers, 0, false, true});
  }
  const VfState& State() { return links_.At("pf0", 3); }
  std::filesystem::path Net() { return folder_.path() / "sys/bus/pci/devices" / kPf.ToString() / "net"; }

  fakes::TempFolder folder_;
  FakeVfLinks links_;
  VfPorts ports_{folder_.path().string() + "/", links_};
};

TEST_F(VfPortsTest, AVfIsFoundByThePfsInterfaceAndItsNumberThere) {
  Result<VfPlace> place = ports_.Find(kVf);
  ASSERT_TRUE(place.has_value()) << place.status().message();
  EXPECT_EQ(place->netdev, "pf0");
  EXPECT_EQ(place->number, 3u);
}

TEST_F(VfPortsTest, RepresentorsOfVfsAreNotThePfsInterface) {
  std::filesystem::create_directories(Net() / "a_vf_rep");
  std::ofstream(Net() / "a_vf_rep/phys_port_name") << "pf0vf3\n";
  std::ofstream(Net() / "pf0/phys_port_name") << "p0\n";
  EXPECT_EQ(ports_.Find(kVf)->netdev, "pf0");
}

TEST_F(VfPortsTest, WhatIsNoVfOfANetworkCardIsTold) {
  EXPECT_EQ(ports_.Find(kPf).error().message(), "device 0000:41:00.0 is no VF");
  EXPECT_EQ(ports_.Find(*PciAddress::Parse("0000:99:00.0")).error().code(), StatusCode::kNotFound);
  std::filesystem::remove_all(Net());
  EXPECT_EQ(
      ports_.Apply(kVf, {.mac = kMac}).message(),
      "PF 0000:41:00.0 of VF 0000:41:10.1 has no network interface: its driver is not bound, or it is no "
      "network card");
}

TEST_F(VfPortsTest, ThePortsSettingsAreAppliedOnce) {
  PortSettings wanted{.mac = kMac, .vlan = 100, .trusted = true, .spoof_check = false};
  ASSERT_EQ(ports_.Apply(kVf, wanted), OkStatus());
  EXPECT_EQ(State(), (VfState{kMac, 100, true, false}));
  ASSERT_EQ(ports_.Apply(kVf, wanted), OkStatus());
  EXPECT_EQ(links_.changes, 1);
}

TEST_F(VfPortsTest, WhatAPortLeavesOpenIsNotInheritedFromTheLastGuest) {
  ASSERT_EQ(ports_.Apply(kVf, {.mac = kMac, .vlan = 100, .trusted = true, .spoof_check = false}), OkStatus());
  ASSERT_EQ(ports_.Apply(kVf, {.mac = MacAddress{0x52, 0x54, 0, 0, 0, 7}}), OkStatus());
  EXPECT_EQ(State(), (VfState{MacAddress{0x52, 0x54, 0, 0, 0, 7}, 0, false, true}));
}

TEST_F(VfPortsTest, ResetTakesAllOfItBack) {
  ASSERT_EQ(ports_.Apply(kVf, {.mac = kMac, .vlan = 100, .trusted = true, .spoof_check = false}), OkStatus());
  ASSERT_EQ(ports_.Reset(kVf), OkStatus());
  EXPECT_EQ(State(), (VfState{FakeVfLinks::kDrivers, 0, false, true}));
  EXPECT_EQ(ports_.Reset(*PciAddress::Parse("0000:99:00.0")), OkStatus());
}

TEST_F(VfPortsTest, ADriverWithoutTrustIsAskedOnlyForWhatThePortAsksFor) {
  links_.Add("pf0", 3, {FakeVfLinks::kDrivers, 0, std::nullopt, std::nullopt});
  EXPECT_EQ(ports_.Apply(kVf, {.mac = kMac}), OkStatus());
  EXPECT_EQ(ports_.Apply(kVf, {.trusted = true}).code(), StatusCode::kFailedPrecondition);
}

TEST_F(VfPortsTest, ARefusalOfTheDriverIsTheAnswer) {
  links_.broken = true;
  EXPECT_EQ(ports_.Apply(kVf, {.vlan = 5}).message(), "Operation not supported");
}

}  // namespace
}  // namespace berth::agent
