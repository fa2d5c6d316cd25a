#include "cli/port_option.h"

#include <gtest/gtest.h>

namespace berth::cli {
namespace {

TEST(PortOption, AllKeysArriveInTheRequest) {
  auto port = ParsePort(
      "id=p1,vnic=macvtap,network=physnet0,trusted=on,mac=52:54:00:00:00:01,vlan=100,spoof-check=off,"
      "numa-policy=required",
      "port0");
  ASSERT_TRUE(port.has_value()) << port.status().message();
  EXPECT_EQ(port->id(), "p1");
  EXPECT_EQ(port->vnic_type(), "macvtap");
  EXPECT_EQ(port->physical_network(), "physnet0");
  EXPECT_TRUE(port->has_trusted() && port->trusted());
  EXPECT_EQ(port->settings().mac_address(), "52:54:00:00:00:01");
  EXPECT_EQ(port->settings().vlan(), 100u);
  EXPECT_TRUE(port->settings().has_spoof_check() && !port->settings().spoof_check());
  EXPECT_EQ(port->numa_policy(), "required");
}

TEST(PortOption, WhatIsNotNamedHasADefault) {
  auto port = ParsePort("trusted=off", "port0");
  ASSERT_TRUE(port.has_value());
  EXPECT_EQ(port->vnic_type(), "direct");
  EXPECT_EQ(port->id(), "port0");
  EXPECT_TRUE(port->has_trusted() && !port->trusted());
  EXPECT_FALSE(port->has_physical_network() || port->has_settings());
}

TEST(PortOption, WhatIsWrongIsNamed) {
  EXPECT_EQ(ParsePort("", "p").error().message(), "\"\" is not KEY=VALUE");
  EXPECT_EQ(ParsePort("id=p1,speed=9", "p").error().message(), "\"speed\" is no key of a port");
  EXPECT_EQ(ParsePort("id=p1,id=p2", "p").error().message(), "id is given twice");
  EXPECT_EQ(ParsePort("id=p1,,", "p").error().message(), "\"\" is not KEY=VALUE");
  for (const char* vlan : {"0", "4095", "-1", "1x", " 1"}) {
    EXPECT_EQ(ParsePort("id=p1,vlan=" + std::string(vlan), "p").error().hint(), "allowed: 1..4094") << vlan;
  }
  EXPECT_EQ(ParsePort("id=p1,trusted=yes", "p").error().hint(), "allowed: on, off");
}

}  // namespace
}  // namespace berth::cli
