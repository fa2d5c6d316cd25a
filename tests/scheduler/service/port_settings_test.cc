#include "scheduler/service/port_settings.h"

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

PciAddress Vf(uint8_t slot) {
  return PciAddress{0, 0x41, slot, 0};
}

TEST(PortSettings, EachPortsVfGetsWhatThatPortAsksFor) {
  Flavor flavor{"f", 1, 512, {{"pci_passthrough:alias", "gpu:1"}}};
  AliasTable aliases = {{"gpu", {AliasEntry{}}}};
  PortRequest plain{.id = "same", .vnic_type = "normal"};
  PortRequest first{.id = "same", .vnic_type = "direct"};
  first.settings.vlan = 10;
  PortRequest second{.id = "same", .vnic_type = "direct"};
  second.settings.vlan = 20;
  std::vector<PortRequest> ports = {first, plain, second};
  auto spec = ResolveRequest(flavor, {}, ports, aliases);
  ASSERT_TRUE(spec.has_value()) << spec.status().message();
  ASSERT_EQ(spec->pci.size(), 3u);
  placement::Claim claim;
  claim.devices = {{0, Vf(0), "gpu", 0, {}}, {2, Vf(2), "same", 0, {}}, {1, Vf(1), "same", 0, {}}};

  AddPortSettings(*spec, ports, claim);

  EXPECT_FALSE(claim.devices[0].port.any());
  EXPECT_EQ(claim.devices[1].port.vlan, 20);
  EXPECT_EQ(claim.devices[2].port.vlan, 10);
}

TEST(PortSettings, OnlyVfsHaveThem) {
  Flavor flavor{"f", 1, 512, {}};
  for (const char* type : {"normal", "direct-physical", "remote-managed", "vdpa"}) {
    PortRequest port{.id = "p", .vnic_type = type};
    port.settings.vlan = 10;
    Result<RequestSpec> spec = ResolveRequest(flavor, {}, {port}, {});
    ASSERT_FALSE(spec.has_value()) << type;
    EXPECT_EQ(spec.error().field(), "ports[0]");
    EXPECT_EQ(spec.error().hint(), "allowed with: direct macvtap");
  }
}

}  // namespace
}  // namespace berth::scheduler
