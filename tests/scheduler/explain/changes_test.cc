#include "scheduler/explain/changes.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"
#include "tests/scheduler/explain/small_fleet.h"

namespace berth::scheduler {
namespace {

const RequestSpec* NoFlavor(const std::string& /*name*/) {
  return nullptr;
}

class ChangesTest : public testing::Test {
 protected:
  Changes Find(const Wish& wish, const ChangeOptions& options = {}) {
    KnownHosts hosts = fleet_.Known();
    RequestSpec spec = Resolve(wish, aliases_);
    Reasons reasons = FindReasons(hosts, spec);
    return FindChanges(hosts, wish, spec, aliases_, reasons, NoFlavor, options);
  }
  // The change of this kind and subject; fails without one.
  static Change Of(const Changes& changes, ChangeKind kind, const std::string& subject) {
    for (const Change& change : changes.changes) {
      if (change.kind == kind && change.subject == subject) return change;
    }
    ADD_FAILURE() << "no change of " << subject;
    return {};
  }
  bool Fits(const Wish& wish) {
    RequestSpec spec = Resolve(wish, aliases_);
    KnownHosts hosts = fleet_.Known();
    return std::any_of(hosts.begin(), hosts.end(),
                       [&](const KnownHost& host) { return Fit(*host.fit, spec).verdict == Verdict::kFits; });
  }

  SmallFleet fleet_;
  AliasTable aliases_ = MakeAliases();
};

TEST_F(ChangesTest, NothingIsProposedForWhatFits) {
  fleet_.AddHost("a", 1, 8, 4096);
  EXPECT_TRUE(Find(MakeWish(4, 1024, {{"hw:cpu_policy", "dedicated"}})).changes.empty());
}

TEST_F(ChangesTest, TheWeakestPolicyLevelThatIsEnoughIsProposed) {
  // On a, CPUs are left on node 0 only, and a device on node 1, another socket; on b nobody knows its node.
  Properties specs = {{"hw:cpu_policy", "dedicated"},
                      {"hw:pci_numa_affinity_policy", "required"},
                      {"pci_passthrough:alias", "gpu:1"}};
  fleet_.AddHost("a", 2, 4, 4096);
  fleet_.AddDevices(2, "2330", 1);
  fleet_.Place("a", "full", MakeWish(4, 1024, specs), aliases_);
  fleet_.AddHost("b", 2, 4, 4096);
  fleet_.AddDevices(1, "2330", std::nullopt);

  Change change = Of(Find(MakeWish(4, 1024, specs)), ChangeKind::kRelaxPolicy, "hw:pci_numa_affinity_policy");

  EXPECT_EQ(change.from, "required");
  EXPECT_EQ(change.to, "legacy");  // socket is not enough, preferred is more than needed
  EXPECT_EQ(change.host, "b");
  EXPECT_EQ(change.hosts, 1u);
  EXPECT_EQ(change.text, "with hw:pci_numa_affinity_policy legacy instead of required: it fits on b");
}

TEST_F(ChangesTest, AliasPoliciesAreRelaxedByTheFlavorsOwn) {
  aliases_ = MakeAliases("required");
  fleet_.AddHost("a", 1, 4, 4096);
  fleet_.AddDevices(1, "2330", std::nullopt);

  Change change = Of(Find(MakeWish(2, 1024, {{"hw:numa_nodes", "1"}, {"pci_passthrough:alias", "gpu:1"}})),
                     ChangeKind::kRelaxPolicy, "hw:pci_numa_affinity_policy");

  EXPECT_EQ(change.from, "required");
  EXPECT_EQ(change.to, "legacy");
}

TEST_F(ChangesTest, APortsOwnPolicyIsRelaxedAtThePort) {
  aliases_ = MakeAliases("required");
  fleet_.AddHost("a", 1, 4, 4096);
  fleet_.AddHost("b", 2, 0, 4096);
  fleet_.AddVfs(2, "154c", 1);
  fleet_.Place("b", "x", MakeWish(4, 1024, {{"hw:numa_nodes", "1"}, {"pci_passthrough:alias", "vf:1"}}),
               aliases_);
  Wish wish = MakeWish(4, 1024, {{"hw:numa_nodes", "1"}});
  wish.ports = {{"p", "direct", std::nullopt, false, std::nullopt, "required"}};

  Change change = Of(Find(wish), ChangeKind::kRelaxPolicy, "policy of port p");

  EXPECT_EQ(change.to, "preferred");
  EXPECT_EQ(change.host, "b");
}

TEST_F(ChangesTest, ASettingThatIsInTheWayIsProposedToBeLeftOut) {
  fleet_.AddHost("a", 1, 8, 4096);

  Changes changes =
      Find(MakeWish(4, 1024, {{"hw:cpu_policy", "dedicated"}, {"hw:cpu_thread_policy", "require"}}));

  Change change = Of(changes, ChangeKind::kChangeSetting, "hw:cpu_thread_policy");
  EXPECT_EQ(change.from, "require");
  EXPECT_EQ(change.text, "without hw:cpu_thread_policy=require: it fits on a");
}

TEST_F(ChangesTest, MoreGuestCellsAreProposedWhereOneIsTooBig) {
  fleet_.AddHost("a", 2, 4, 4096);

  Change change = Of(Find(MakeWish(8, 1024, {{"hw:cpu_policy", "dedicated"}})), ChangeKind::kChangeSetting,
                     "hw:numa_nodes");

  EXPECT_EQ(change.from, "1");
  EXPECT_EQ(change.to, "2");
}

TEST_F(ChangesTest, ShrinkingIsByTheLeastThatIsEnough) {
  fleet_.AddHost("a", 1, 6, 1000);
  fleet_.AddDevices(2, "2330", 0);
  Properties specs = {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:5"}};
  Change devices = Of(Find(MakeWish(4, 500, specs)), ChangeKind::kShrink, "gpu");
  EXPECT_EQ(devices.from, "5");
  EXPECT_EQ(devices.to, "2");

  specs.erase("pci_passthrough:alias");
  Change vcpus = Of(Find(MakeWish(9, 500, specs)), ChangeKind::kShrink, "vcpus");
  EXPECT_EQ(vcpus.to, "6");

  Change memory = Of(Find(MakeWish(4, 5000, specs)), ChangeKind::kShrink, "memory_mib");
  EXPECT_EQ(memory.to, "1000");
  EXPECT_TRUE(Fits(MakeWish(4, 1000, specs)));
  EXPECT_FALSE(Fits(MakeWish(4, 1001, specs)));
}

TEST_F(ChangesTest, MemoryShrinksInWholePagesOfEachCell) {
  fleet_.AddHost("a", 2, 4, 4096);  // 1024 pages of 2 MiB in each cell

  Change memory = Of(Find(MakeWish(4, 6000, {{"hw:numa_nodes", "2"}, {"hw:mem_page_size", "2MB"}})),
                     ChangeKind::kShrink, "memory_mib");

  EXPECT_EQ(memory.to, "4096");
}

TEST_F(ChangesTest, AnEncryptedGuestIsNotShrunkBelowItsMinimum) {
  fleet_.AddHost("a", 1, 4, 4096);  // no secure memory at all
  for (const Change& change : Find(MakeWish(2, 2048, {{"hw:mem_encryption", "true"}})).changes)
    EXPECT_NE(change.subject, "memory_mib");
}

TEST_F(ChangesTest, TheDeviceToFreeAndItsHolderAreNamed) {
  fleet_.AddHost("a", 1, 8, 4096);
  fleet_.AddHost("b", 1, 8, 4096);
  fleet_.AddDevices(2, "2330", 0);
  Wish one = MakeWish(1, 256, {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:1"}});
  fleet_.Place("b", "holder", one, aliases_);

  Change change =
      Of(Find(MakeWish(1, 256, {{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:2"}})),
         ChangeKind::kFreeDevice, fleet_.claim("holder").devices[0].address.ToString());

  EXPECT_EQ(change.instance, "holder");
  EXPECT_EQ(change.host, "b");
}

TEST_F(ChangesTest, TheSmallestInstanceWhoseMoveIsEnoughIsNamedWithItsNewHost) {
  fleet_.AddHost("a", 1, 8, 4096);
  fleet_.AddHost("b", 1, 4, 1100);
  Properties pinned = {{"hw:cpu_policy", "dedicated"}};
  fleet_.Place("a", "big", MakeWish(4, 1024, pinned));
  fleet_.Place("a", "small", MakeWish(2, 512, pinned));

  // a has 2 free CPUs, b too little memory. Without either instance a would take it.
  Changes changes = Find(MakeWish(4, 2000, pinned));

  Change change = Of(changes, ChangeKind::kMoveInstance, "small");
  EXPECT_EQ(change.from, "a");
  EXPECT_EQ(change.to, "b");
  EXPECT_EQ(change.text, "if small moved from a to b: it fits on a");
}

TEST_F(ChangesTest, AnInstanceWithoutAnotherPlaceIsSaidToBeSo) {
  fleet_.AddHost("a", 1, 4, 4096);
  Properties pinned = {{"hw:cpu_policy", "dedicated"}};
  fleet_.Place("a", "only", MakeWish(4, 1024, pinned));

  Change change = Of(Find(MakeWish(2, 512, pinned)), ChangeKind::kMoveInstance, "only");

  EXPECT_EQ(change.to, "");
  EXPECT_EQ(change.text, "if only on a were deleted (no other host takes it): it fits on a");
}

TEST_F(ChangesTest, TriesAreBoundedAndWhatWasNotTriedIsCounted) {
  Properties pinned = {{"hw:cpu_policy", "dedicated"}};
  for (int i = 0; i < 5; ++i) {
    std::string name = "h" + std::to_string(i);
    fleet_.AddHost(name, 1, 4, 4096);
    fleet_.Place(name, "vm" + std::to_string(i), MakeWish(4, 512, pinned));
  }
  ChangeOptions options;
  options.max_tries = 4;  // each host empty, and without its instance: which has no other place
  EXPECT_EQ(Find(MakeWish(4, 512, pinned), options).hosts_not_tried, 3u);
  EXPECT_EQ(Find(MakeWish(4, 512, pinned)).hosts_not_tried, 0u);
}

TEST_F(ChangesTest, TheCheapestKindsComeFirst) {
  fleet_.AddHost("a", 1, 8, 4096);
  fleet_.AddDevices(1, "2330", std::nullopt);
  fleet_.AddDevices(1, "2330", 0);
  Properties specs = {{"hw:cpu_policy", "dedicated"},
                      {"hw:pci_numa_affinity_policy", "required"},
                      {"pci_passthrough:alias", "gpu:2"}};
  Changes changes = Find(MakeWish(2, 512, specs));
  ASSERT_GE(changes.changes.size(), 2u);
  EXPECT_EQ(changes.changes[0].kind, ChangeKind::kRelaxPolicy);
  EXPECT_TRUE(std::is_sorted(changes.changes.begin(), changes.changes.end(),
                             [](const Change& a, const Change& b) { return a.kind < b.kind; }));
}

}  // namespace
}  // namespace berth::scheduler
