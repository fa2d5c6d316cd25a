#include "compute-agent/sriov/netlink_vf_links.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

// What needs no card with VFs: the rest is proven in the lab (tests/lab/e2e_vfio.sh).
TEST(NetlinkVfLinks, AnInterfaceWithoutVfsHasNone) {
  NetlinkVfLinks links;
  EXPECT_EQ(links.Read("lo", 0).error().message(), "VF 0 of lo is not known to its driver");
}

TEST(NetlinkVfLinks, AnInterfaceThatIsNotThereIsNamed) {
  NetlinkVfLinks links;
  EXPECT_EQ(links.Read("berth-none", 0).error().code(), StatusCode::kNotFound);
  EXPECT_TRUE(links.Read("berth-none", 0).error().message().starts_with("network interface berth-none: "));
}

TEST(NetlinkVfLinks, AChangeOfWhatIsNoVfIsRefusedByTheKernel) {
  NetlinkVfLinks links;
  for (const placement::PortSettings& settings :
       {placement::PortSettings{.mac = MacAddress{2, 0, 0, 0, 0, 1}},
        placement::PortSettings{.trusted = true}, placement::PortSettings{.vlan = 5, .spoof_check = false}}) {
    Status changed = links.Change("lo", 0, settings, settings.vlan != 0);
    EXPECT_EQ(changed.code(), StatusCode::kFailedPrecondition) << changed.message();
    EXPECT_TRUE(changed.message().starts_with("VF 0 of lo: ")) << changed.message();
  }
}

}  // namespace
}  // namespace berth::agent
