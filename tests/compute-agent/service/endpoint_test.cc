#include "compute-agent/service/endpoint.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

TEST(ReachableEndpoint, AnAddressOfAllInterfacesBecomesTheHostsName) {
  EXPECT_EQ(ReachableEndpoint("0.0.0.0:7703", "node7"), "node7:7703");
  EXPECT_EQ(ReachableEndpoint("[::]:7703", "node7"), "node7:7703");
  EXPECT_EQ(ReachableEndpoint(":7703", "node7"), "node7:7703");
}

TEST(ReachableEndpoint, AnAddressThatNamesAMachineStays) {
  EXPECT_EQ(ReachableEndpoint("10.0.1.7:7703", "node7"), "10.0.1.7:7703");
  EXPECT_EQ(ReachableEndpoint("[fe80::1]:7703", "node7"), "[fe80::1]:7703");
  EXPECT_EQ(ReachableEndpoint("agent.example:80", "node7"), "agent.example:80");
  EXPECT_EQ(ReachableEndpoint("unix", "node7"), "unix");
}

}  // namespace
}  // namespace berth::agent
