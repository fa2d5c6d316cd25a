#include "scheduler/explain/reasons.h"

#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"
#include "tests/scheduler/explain/small_fleet.h"

namespace berth::scheduler {
namespace {

TEST(Reasons, AreCountedByCodeWithTheHostThatComesNearest) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 2, 8192);
  fleet.AddHost("b", 1, 6, 8192);
  fleet.AddHost("c", 1, 4, 8192);
  fleet.AddHost("d", 1, 16, 512);
  RequestSpec spec = Resolve(MakeWish(8, 1024, {{"hw:cpu_policy", "dedicated"}}));

  Reasons reasons = FindReasons(fleet.Known(), spec);

  EXPECT_EQ(reasons.fitting, 0u);
  ASSERT_EQ(reasons.tallies.size(), 2u);
  EXPECT_EQ(reasons.tallies[0].hosts, 3u);
  EXPECT_EQ(reasons.tallies[0].nearest, 1u);  // b lacks 2 of 8
  Reason nearest = Describe(reasons.outcomes[1].lack, spec);
  EXPECT_EQ(nearest.code, "cpus_dedicated");
  EXPECT_EQ(nearest.have, "6");
  EXPECT_EQ(nearest.need, "8");
  EXPECT_EQ(nearest.where, "guest cell 0");
  EXPECT_EQ(reasons.tallies[1].hosts, 1u);
  EXPECT_EQ(reasons.tallies[1].nearest, 3u);
}

TEST(Reasons, AreThoseOfTheSolverHostByHost) {
  SmallFleet fleet;
  AliasTable aliases = MakeAliases("required");
  fleet.AddHost("a", 2, 8, 8192);
  fleet.AddDevices(2, "2330", 0);
  fleet.AddHost("b", 2, 8, 8192);
  fleet.AddHost("c", 1, 8, 8192);
  for (const char* twin : {"d", "e"}) fleet.AddHost(twin, 2, 8, 8192);  // in the state of b
  for (uint32_t vcpus : {2, 4, 16, 32}) {
    for (const char* nodes : {"1", "2", "3"}) {
      for (const char* devices : {"gpu:1", "gpu:2", "gpu:3", "vf:1"}) {
        Wish wish = MakeWish(
            vcpus * 3, 3072,
            {{"hw:cpu_policy", "dedicated"}, {"hw:numa_nodes", nodes}, {"pci_passthrough:alias", devices}});
        RequestSpec spec = Resolve(wish, aliases);
        KnownHosts hosts = fleet.Known();
        Reasons reasons = FindReasons(hosts, spec);
        for (size_t i = 0; i < hosts.size(); ++i) {
          FitResult fit = Fit(*hosts[i].fit, spec);
          ASSERT_EQ(reasons.outcomes[i].verdict, fit.verdict);
          if (fit.verdict == Verdict::kNo) {
            ASSERT_EQ(Describe(reasons.outcomes[i].lack, spec), fit.reason);
          }
        }
      }
    }
  }
}

TEST(Reasons, NoHostsAreNoReasons) {
  Reasons reasons = FindReasons({}, Resolve(MakeWish(1, 64, {})));
  EXPECT_TRUE(reasons.outcomes.empty());
  EXPECT_TRUE(reasons.tallies.empty());
}

}  // namespace
}  // namespace berth::scheduler
