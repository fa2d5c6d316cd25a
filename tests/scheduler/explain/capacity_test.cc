#include "scheduler/explain/capacity.h"

#include <gtest/gtest.h>

#include "tests/scheduler/explain/small_fleet.h"

namespace berth::scheduler {
namespace {

SmallFleet MakeFleet() {
  SmallFleet fleet;
  for (int i = 0; i < 6; ++i) {
    fleet.AddHost("h" + std::to_string(i), 2, 10, 6000);
    fleet.AddDevices(i < 3 ? 2 : 3, "2330", 0);
    fleet.AddVfs(4, "154c", 1);
    fleet.AddVfs(2, "154c", 0);
  }
  fleet.Place("h1", "x", MakeWish(3, 777, {{"hw:cpu_policy", "dedicated"}}));
  fleet.Place("h4", "y", MakeWish(2, 100, {}));
  return fleet;
}

TEST(Capacity, IsTheNumberOfInstancesThatCanBePlacedOneAfterAnother) {
  AliasTable aliases = MakeAliases();
  for (const Properties& specs : std::vector<Properties>{
           {},
           {{"hw:numa_nodes", "1"}},
           {{"hw:numa_nodes", "2"}},
           {{"hw:cpu_policy", "dedicated"}},
           {{"hw:cpu_policy", "dedicated"}, {"hw:numa_nodes", "2"}, {"hw:mem_page_size", "large"}},
           {{"hw:mem_page_size", "any"}},
           {{"pci_passthrough:alias", "vf:2"}, {"group_policy", "isolate"}},
           {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:1,vf:1"}}}) {
    SmallFleet fleet = MakeFleet();
    RequestSpec spec = Resolve(MakeWish(2, 300, specs), aliases);
    RoomCounter counter(spec);
    std::vector<uint64_t> counts;
    for (const KnownHost& host : fleet.Known()) {
      HostRoom room = counter.Count(host);
      EXPECT_FALSE(room.undecided);
      counts.push_back(room.instances);
    }
    for (size_t i = 0; i < counts.size(); ++i)
      EXPECT_EQ(counts[i], fleet.PlaceAll("h" + std::to_string(i), spec)) << i;
  }
}

TEST(Capacity, HostsInTheSameStateAreSolvedOnce) {
  SmallFleet fleet;
  for (int i = 0; i < 50; ++i) fleet.AddHost("h" + std::to_string(i), 2, 10, 6000);
  RequestSpec spec = Resolve(MakeWish(2, 300, {{"hw:cpu_policy", "dedicated"}}));
  RoomCounter counter(spec);
  uint64_t total = 0;
  for (const KnownHost& host : fleet.Known()) total += counter.Count(host).instances;
  EXPECT_EQ(total, 500u);
  EXPECT_EQ(counter.solved(), 11u);  // a host with 0 to 10 instances
}

TEST(Capacity, HugeCountsOfFloatingGuestsTakeNoTime) {
  SmallFleet fleet;
  fleet.AddHost("a", 1, 0, 1 << 24);
  KnownHosts hosts = fleet.Known();
  placement::HostReport report = *hosts[0].report;
  report.cpu_allocation_ratio = 1e9;
  FitHost fit = FromHost(report, *hosts[0].usage);
  hosts[0].fit = &fit;
  hosts[0].report = &report;
  RequestSpec spec = Resolve(MakeWish(1, 1, {}));
  EXPECT_EQ(RoomCounter(spec).Count(hosts[0]).instances, uint64_t{1} << 24);
}

}  // namespace
}  // namespace berth::scheduler
