#include "scheduler/explain/claim_request.h"

#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"
#include "tests/scheduler/explain/small_fleet.h"

namespace berth::scheduler {
namespace {

TEST(ClaimRequest, AsksForWhatTheInstanceHas) {
  AliasTable aliases = MakeAliases("required");
  SmallFleet fleet;
  fleet.AddHost("a", 2, 10, 6000);
  fleet.AddDevices(2, "2330", 1);
  Wish wish = MakeWish(4, 1024,
                       {{"hw:cpu_policy", "mixed"},
                        {"hw:cpu_dedicated_mask", "0,2"},
                        {"hw:numa_nodes", "2"},
                        {"hw:mem_page_size", "large"},
                        {"pci_passthrough:alias", "gpu:2"}});
  fleet.Place("a", "vm", wish, aliases);
  KnownHosts hosts = fleet.Known();
  RequestSpec flavor = Resolve(wish, aliases);

  RequestSpec spec = RequestOfClaim(fleet.claim("vm"), *hosts[0].report, &flavor);

  EXPECT_EQ(spec.cells, flavor.cells);
  EXPECT_EQ(spec.cpu_policy, CpuPolicy::kMixed);
  EXPECT_EQ(spec.pages.kind, PageRequest::Kind::kExact);  // the size that it has
  EXPECT_EQ(spec.pages.size_bytes, uint64_t{2} << 20);
  EXPECT_EQ(spec.pci, flavor.pci);
}

TEST(ClaimRequest, WithoutTheFlavorDevicesLikeItsOwnAreAskedForBesideTheGuest) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 10, 6000);
  fleet.AddVfs(2, "154c", 0);
  AliasTable aliases = MakeAliases();
  fleet.Place("a", "vm",
              MakeWish(2, 512, {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "vf:1"}}), aliases);
  KnownHosts hosts = fleet.Known();

  RequestSpec spec = RequestOfClaim(fleet.claim("vm"), *hosts[0].report, nullptr);

  ASSERT_EQ(spec.pci.size(), 1u);
  EXPECT_EQ(spec.pci[0].count, 1u);
  EXPECT_EQ(spec.pci[0].policy, AffinityPolicy::kRequired);
  EXPECT_EQ(spec.pci[0].alternatives[0].product_id, "154c");
  EXPECT_EQ(spec.pci[0].alternatives[0].kind, DeviceKind::kVf);
  EXPECT_EQ(Fit(*hosts[0].fit, spec).verdict, Verdict::kFits);
}

TEST(ClaimRequest, WhatIsOnItsWayOutOrElsewhereRunIsNotMoved) {
  placement::Claim claim;
  EXPECT_TRUE(IsMovable(claim));
  claim.phase = placement::ClaimPhase::kReleasing;
  EXPECT_FALSE(IsMovable(claim));
  claim.phase = placement::ClaimPhase::kActive;
  claim.external = true;
  EXPECT_FALSE(IsMovable(claim));
  claim.external = false;
  claim.reserved_for = Uuid::FromName(Uuid{}, "an instance that moves");
  EXPECT_FALSE(IsMovable(claim));
}

}  // namespace
}  // namespace berth::scheduler
