#include "compute-agent/devices/device_domains.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

PciDeviceInfo Device(const char* address, const std::vector<const char*>& bridges) {
  PciDeviceInfo device;
  device.address = *PciAddress::Parse(address);
  for (const char* bridge : bridges) device.bridges.push_back(*PciAddress::Parse(bridge));
  return device;
}

using Names = std::vector<std::string>;

TEST(DeviceDomains, ADeviceOfTheRootComplexHasNone) {
  EXPECT_EQ(DomainsOf(Device("0000:00:1f.0", {}), {}), Names{});
}

TEST(DeviceDomains, BelowARootPortItHasThatOne) {
  EXPECT_EQ(DomainsOf(Device("0000:01:00.0", {"0000:00:01.0"}), {}), Names{"root:0000:00:01.0"});
}

TEST(DeviceDomains, BelowASwitchItAlsoHasTheSwitchsUpstreamPort) {
  EXPECT_EQ(DomainsOf(Device("0000:05:00.0", {"0000:00:01.0", "0000:01:00.0", "0000:02:08.0"}), {}),
            (Names{"root:0000:00:01.0", "switch:0000:01:00.0"}));
}

TEST(DeviceDomains, BelowTwoSwitchesItHasBoth) {
  EXPECT_EQ(DomainsOf(Device("0000:09:00.0", {"0000:00:01.0", "0000:01:00.0", "0000:02:08.0", "0000:05:00.0",
                                              "0000:06:01.0"}),
                      {}),
            (Names{"root:0000:00:01.0", "switch:0000:01:00.0", "switch:0000:05:00.0"}));
}

TEST(DeviceDomains, ABridgeToConventionalPciIsNoSwitch) {
  EXPECT_EQ(DomainsOf(Device("0000:02:03.0", {"0000:00:1c.0", "0000:01:00.0"}), {}),
            Names{"root:0000:00:1c.0"});
}

TEST(DeviceDomains, ConfiguredOnesCountForTheDeviceAndForTheVfsOfAPf) {
  ConfiguredDomains configured = {{"clique:0", {*PciAddress::Parse("0000:81:00.0")}},
                                  {"rail:1", {*PciAddress::Parse("0000:41:00.0")}}};
  EXPECT_EQ(DomainsOf(Device("0000:81:00.0", {}), configured), Names{"clique:0"});
  PciDeviceInfo vf = Device("0000:41:02.1", {"0000:40:01.0"});
  vf.parent = *PciAddress::Parse("0000:41:00.0");
  EXPECT_EQ(DomainsOf(vf, configured), (Names{"rail:1", "root:0000:40:01.0"}));
}

TEST(DeviceDomains, NamesAreKindAndName) {
  for (const char* good : {"clique:0", "rail:a_b", "nv-link:x:y"}) EXPECT_TRUE(IsDomainName(good)) << good;
  for (const char* bad : {"clique", ":0", "clique:", "a b:0", "clique:a b", "clique:a,b"})
    EXPECT_FALSE(IsDomainName(bad)) << bad;
}

}  // namespace
}  // namespace berth::agent
