// Seed 002, "PCI-NUMA affinity policies", sentence by sentence, and the failures LIM-xx of the anchor that
// concern one host.
#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

// A host that reads like the text: cells with sockets, each with free dedicated CPUs, and devices on nodes.
class HostBuilder {
 public:
  HostBuilder& Cell(NumaNode id, std::optional<uint32_t> socket, uint32_t dedicated = 4) {
    FitCell cell;
    cell.id = id;
    cell.socket = socket;
    if (dedicated > 0) cell.free_dedicated = CpuSet::Range(id * 100, id * 100 + dedicated - 1);
    cell.shared_cpus = CpuSet::Range(id * 100 + 50, id * 100 + 53);
    cell.memory_bytes = 16 * kGib;
    cell.pages = {{4096, 16 * kGib / 4096, 16 * kGib / 4096}, {2 << 20, 1024, 1024}};
    host_.cells.push_back(std::move(cell));
    return *this;
  }
  HostBuilder& Pci(const std::string& address, std::optional<NumaNode> node) {
    return Add(address, DeviceKind::kPci, "154d", node, {});
  }
  HostBuilder& Pf(const std::string& address, std::optional<NumaNode> node) {
    return Add(address, DeviceKind::kPf, "1572", node, {});
  }
  HostBuilder& Vf(const std::string& address, const std::string& parent, std::optional<NumaNode> node) {
    return Add(address, DeviceKind::kVf, "154c", node, parent);
  }
  FitHost Build() {
    Prepare(host_);
    return host_;
  }

 private:
  HostBuilder& Add(const std::string& address, DeviceKind kind, const std::string& product,
                   std::optional<NumaNode> node, const std::string& parent) {
    FitDevice device;
    device.address = PciAddress::Parse(address).value();
    device.kind = kind;
    device.vendor_id = "8086";
    device.product_id = product;
    device.numa_node = node;
    if (!parent.empty()) device.parent = PciAddress::Parse(parent).value();
    if (kind != DeviceKind::kPci) device.remote_managed = false;
    host_.devices.push_back(std::move(device));
    return *this;
  }

  FitHost host_;
};

PciRequest Ask(const std::string& product, uint32_t count, AffinityPolicy policy,
               std::optional<DeviceKind> kind = std::nullopt) {
  PciRequest request;
  request.name = "a1";
  request.count = count;
  request.policy = policy;
  DeviceMatch match;
  match.vendor_id = "8086";
  match.product_id = product;
  match.kind = kind;
  request.alternatives = {match};
  return request;
}

// A pinned guest with `cells` cells of `vcpus` each.
RequestSpec Guest(uint32_t cells, uint32_t vcpus = 1) {
  RequestSpec spec;
  spec.cpu_policy = CpuPolicy::kDedicated;
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    cell.vcpus = cell.pinned = CpuSet::Range(i * vcpus, i * vcpus + vcpus - 1);
    cell.memory_bytes = kGib;
    spec.cells.push_back(cell);
    spec.vcpus += vcpus;
    spec.memory_bytes += kGib;
  }
  return spec;
}

RequestSpec GuestWith(uint32_t cells, AffinityPolicy policy, uint32_t count = 1) {
  RequestSpec spec = Guest(cells);
  spec.pci = {Ask("154d", count, policy)};
  return spec;
}

bool Fits(const FitHost& host, const RequestSpec& spec) {
  FitResult result = Fit(host, spec);
  EXPECT_NE(result.verdict, Verdict::kUndecided);
  return result.verdict == Verdict::kFits;
}

// Two sockets with two nodes each: 0 and 1 on socket 0, 2 and 3 on socket 1; a device on node 0. Only the two
// given nodes have free CPUs.
FitHost SocketExample(NumaNode first, NumaNode second) {
  HostBuilder host;
  for (NumaNode node = 0; node < 4; ++node)
    host.Cell(node, node / 2, node == first || node == second ? 4 : 0);
  return host.Pci("0000:41:00.0", 0).Build();
}

TEST(PolicyRequired, BootsOnlyIfANodeOfTheInstanceIsAssociatedWithTheDevice) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1).Pci("0000:41:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kRequired));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.cells[0].host, 1u);
  EXPECT_EQ(result.assignment.non_local, 0u);
  EXPECT_FALSE(Fits(HostBuilder().Cell(0, 0).Cell(1, 1, 0).Pci("0000:41:00.0", 1).Build(),
                    GuestWith(1, AffinityPolicy::kRequired)));
}

TEST(PolicyRequired, DeviceWithoutNodeInformationIsNotConsumable) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kRequired));

  EXPECT_EQ(result.verdict, Verdict::kNo);
  EXPECT_EQ(result.reason.code, "pci_numa");
  EXPECT_EQ(result.reason.have, "0");
  EXPECT_EQ(result.reason.need, "1");
  EXPECT_EQ(result.reason.where, "alias a1");
}

TEST(PolicyRequired, EachDeviceNeedsSomeNodeOfTheInstanceNotAllTheSame) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1).Pci("0000:41:00.0", 0).Pci("0000:81:00.0", 1).Build();
  EXPECT_TRUE(Fits(host, GuestWith(2, AffinityPolicy::kRequired, 2)));
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kRequired, 2)));
}

// "By default a PCI device must be allocated from the same host NUMA node as at least one of the instance's
// CPUs", passthrough devices and SR-IOV interfaces alike.
TEST(PolicyByDefault, ADeviceComesFromANodeOfAtLeastOneOfTheInstancesCpus) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1).Pci("0000:41:00.0", 1).Build();
  RequestSpec spec = Guest(2);
  PciRequest asked = Ask("154d", 1, PciRequest{}.policy);
  spec.pci = {asked};
  EXPECT_TRUE(Fits(host, spec));

  FitHost elsewhere = HostBuilder().Cell(0, 0).Cell(1, 1).Cell(2, 1, 0).Pci("0000:41:00.0", 2).Build();
  EXPECT_FALSE(Fits(elsewhere, spec));
}

TEST(PolicyByDefault, HoldsForSriovInterfacesAsForPassthroughDevices) {
  PciRequest port = Ask("154c", 1, PciRequest{}.policy, DeviceKind::kVf);
  port.from_port = true;
  RequestSpec spec = Guest(1);
  spec.pci = {port};
  EXPECT_TRUE(Fits(HostBuilder().Cell(0, 0).Vf("0000:18:02.0", "0000:18:00.0", 0).Build(), spec));
  EXPECT_FALSE(
      Fits(HostBuilder().Cell(0, 0).Cell(1, 1, 0).Vf("0000:18:02.0", "0000:18:00.0", 1).Build(), spec));
}

// "at least one of the NUMA nodes of the instance is associated": one suffices.
TEST(PolicyRequired, OneNodeOfSeveralOfTheInstanceSuffices) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1).Pci("0000:41:00.0", 0).Build();
  EXPECT_TRUE(Fits(host, GuestWith(2, AffinityPolicy::kRequired)));
}

// "those PCI devices wouldn't be consumable by the instance": others of the host are.
TEST(PolicyRequired, OnlyDevicesWithoutNodeInformationAreNotConsumable) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Pci("0000:42:00.0", 0).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kRequired));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  ASSERT_EQ(result.assignment.devices.size(), 1u);
  EXPECT_EQ(result.assignment.devices[0].address.ToString(), "0000:42:00.0");
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kRequired, 2)));
}

// "affined to the same host socket as at least one of the guest NUMA nodes".
TEST(PolicySocket, OneGuestNodeOnTheSocketOfTheDeviceSufficesAndNoneRefuses) {
  EXPECT_TRUE(Fits(SocketExample(1, 1), GuestWith(1, AffinityPolicy::kSocket)));
  EXPECT_FALSE(Fits(SocketExample(2, 2), GuestWith(1, AffinityPolicy::kSocket)));
}

// "can be affined to either: node 0 and node 1, ...": with all nodes free the guest is on one of the five.
TEST(PolicySocket, WithAllNodesFreeTheGuestIsOnOneOfTheFivePairs) {
  HostBuilder builder;
  for (NumaNode node = 0; node < 4; ++node) builder.Cell(node, node / 2);
  FitResult result = Fit(builder.Pci("0000:41:00.0", 0).Build(), GuestWith(2, AffinityPolicy::kSocket));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  bool on_socket_0 = false;
  for (const auto& cell : result.assignment.cells) on_socket_0 = on_socket_0 || cell.host <= 1;
  EXPECT_TRUE(on_socket_0);
}

TEST(PolicySocket, ExampleOfTheDocumentNodes01) {
  EXPECT_TRUE(Fits(SocketExample(0, 1), GuestWith(2, AffinityPolicy::kSocket)));
}
TEST(PolicySocket, ExampleOfTheDocumentNodes02) {
  EXPECT_TRUE(Fits(SocketExample(0, 2), GuestWith(2, AffinityPolicy::kSocket)));
}
TEST(PolicySocket, ExampleOfTheDocumentNodes03) {
  EXPECT_TRUE(Fits(SocketExample(0, 3), GuestWith(2, AffinityPolicy::kSocket)));
}
TEST(PolicySocket, ExampleOfTheDocumentNodes12) {
  EXPECT_TRUE(Fits(SocketExample(1, 2), GuestWith(2, AffinityPolicy::kSocket)));
}
TEST(PolicySocket, ExampleOfTheDocumentNodes13) {
  EXPECT_TRUE(Fits(SocketExample(1, 3), GuestWith(2, AffinityPolicy::kSocket)));
}
TEST(PolicySocket, ExampleOfTheDocumentNodes23AreOnTheOtherSocketAndDoNotBoot) {
  FitResult result = Fit(SocketExample(2, 3), GuestWith(2, AffinityPolicy::kSocket));

  EXPECT_EQ(result.verdict, Verdict::kNo);
  EXPECT_EQ(result.reason.code, "pci_numa");
}

TEST(PolicySocket, DeviceWithoutNodeIsRefused) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Build();
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kSocket)));
}

TEST(PolicySocket, ActsLikeRequiredWhenSomeNodeDoesNotTellItsSocket) {
  FitHost host =
      HostBuilder().Cell(0, 0, 0).Cell(1, 0).Cell(2, std::nullopt, 0).Pci("0000:41:00.0", 0).Build();
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kSocket)));
  FitHost known = HostBuilder().Cell(0, 0, 0).Cell(1, 0).Cell(2, 1, 0).Pci("0000:41:00.0", 0).Build();
  EXPECT_TRUE(Fits(known, GuestWith(1, AffinityPolicy::kSocket)));
}

TEST(PolicyPreferred, FallsBackToADeviceOfAnotherNode) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1, 0).Pci("0000:81:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kPreferred));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.non_local, 1u);
}

TEST(PolicyPreferred, ChoosesTheNodesForTheDevicesWhenItCan) {
  FitHost host = HostBuilder().Cell(0, 0, 2).Cell(1, 1, 8).Pci("0000:81:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kPreferred));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.cells[0].host, 1u);  // although node 0 is the fuller one
  EXPECT_EQ(result.assignment.non_local, 0u);
}

// "a best effort selection of PCI devices based on NUMA affinity".
TEST(PolicyPreferred, TakesTheLocalDeviceOfTwo) {
  FitHost host = HostBuilder().Cell(0, 0, 0).Cell(1, 1).Pci("0000:41:00.0", 0).Pci("0000:81:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kPreferred));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.non_local, 0u);
}

// "if this is not possible": as many local devices as there are, the rest from other nodes.
TEST(PolicyPreferred, FallsBackOnlyForTheDevicesThatHaveNoLocalOne) {
  FitHost host = HostBuilder().Cell(0, 0, 0).Cell(1, 1).Pci("0000:41:00.0", 0).Pci("0000:81:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kPreferred, 2));

  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.non_local, 1u);
}

// "minimal consideration for the NUMA affinity": a host whose devices tell no node is chosen, too.
TEST(PolicyPreferred, DeviceWithoutNodeInformationIsConsumable) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Build();
  EXPECT_TRUE(Fits(host, GuestWith(1, AffinityPolicy::kPreferred)));
}

// "some PCI devices do not provide such information": each device by what is known of it alone.
TEST(PolicyLegacy, DevicesWithAndWithoutNodeInformationServeTogether) {
  FitHost host = HostBuilder()
                     .Cell(0, 0)
                     .Cell(1, 1, 0)
                     .Pci("0000:41:00.0", 0)
                     .Pci("0000:42:00.0", std::nullopt)
                     .Pci("0000:81:00.0", 1)
                     .Build();
  EXPECT_TRUE(Fits(host, GuestWith(1, AffinityPolicy::kLegacy, 2)));
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kLegacy, 3)));
}

// "associated with at least one NUMA nodes on which the instance will be booted".
TEST(PolicyLegacy, OneNodeOfSeveralOfTheInstanceSuffices) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1).Pci("0000:41:00.0", 1).Build();
  EXPECT_TRUE(Fits(host, GuestWith(2, AffinityPolicy::kLegacy)));
}

TEST(PolicyLegacy, BootsWhenTheDeviceIsOnANodeOfTheInstance) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", 0).Build();
  EXPECT_TRUE(Fits(host, GuestWith(1, AffinityPolicy::kLegacy)));
}
TEST(PolicyLegacy, BootsWhenThereIsNoNodeInformation) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Build();
  EXPECT_TRUE(Fits(host, GuestWith(1, AffinityPolicy::kLegacy)));
}
TEST(PolicyLegacy, DoesNotBootWithADeviceOfAKnownOtherNode) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 1, 0).Pci("0000:81:00.0", 1).Build();
  EXPECT_FALSE(Fits(host, GuestWith(1, AffinityPolicy::kLegacy)));
}
TEST(PolicyLegacy, IsTheDefault) {
  EXPECT_EQ(PciRequest{}.policy, AffinityPolicy::kLegacy);
}

TEST(PolicyWithoutTopology, EveryPolicyIsWithoutEffect) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", std::nullopt).Build();
  RequestSpec spec;
  spec.vcpus = 1;
  spec.memory_bytes = kGib;
  for (AffinityPolicy policy :
       {AffinityPolicy::kRequired, AffinityPolicy::kSocket, AffinityPolicy::kLegacy}) {
    spec.pci = {Ask("154d", 1, policy)};
    EXPECT_TRUE(Fits(host, spec));
  }
}

TEST(DeviceTypes, WithoutDeviceTypeAPfIsNeverGiven) {
  FitHost host = HostBuilder().Cell(0, 0).Pf("0000:18:00.0", 0).Build();
  RequestSpec spec = Guest(1);
  spec.pci = {Ask("1572", 1, AffinityPolicy::kLegacy)};
  EXPECT_FALSE(Fits(host, spec));
  spec.pci = {Ask("1572", 1, AffinityPolicy::kLegacy, DeviceKind::kPf)};
  EXPECT_TRUE(Fits(host, spec));
}

TEST(DeviceTypes, PfAndItsVfsExcludeEachOther) {
  FitHost host = HostBuilder().Cell(0, 0).Pf("0000:18:00.0", 0).Vf("0000:18:02.0", "0000:18:00.0", 0).Build();
  RequestSpec spec = Guest(1);
  spec.pci = {Ask("1572", 1, AffinityPolicy::kLegacy, DeviceKind::kPf),
              Ask("154c", 1, AffinityPolicy::kLegacy)};
  FitResult result = Fit(host, spec);
  EXPECT_EQ(result.verdict, Verdict::kNo);
  EXPECT_EQ(result.reason.code, "devices_together");

  FitHost two = HostBuilder()
                    .Cell(0, 0)
                    .Pf("0000:18:00.0", 0)
                    .Vf("0000:18:02.0", "0000:18:00.0", 0)
                    .Pf("0000:19:00.0", 0)
                    .Vf("0000:19:02.0", "0000:19:00.0", 0)
                    .Build();
  EXPECT_TRUE(Fits(two, spec));
}

FitHost TwoPfsWithTwoVfs() {
  return HostBuilder()
      .Cell(0, 0)
      .Vf("0000:18:02.0", "0000:18:00.0", 0)
      .Vf("0000:18:02.1", "0000:18:00.0", 0)
      .Vf("0000:19:02.0", "0000:19:00.0", 0)
      .Vf("0000:19:02.1", "0000:19:00.0", 0)
      .Build();
}

TEST(GroupPolicy, NoneAllowsVfsOfTheSameParentPf) {
  RequestSpec spec = Guest(1);
  spec.pci = {Ask("154c", 4, AffinityPolicy::kRequired, DeviceKind::kVf)};
  EXPECT_TRUE(Fits(TwoPfsWithTwoVfs(), spec));
}

TEST(GroupPolicy, IsolateTakesEachVfFromADifferentParentPf) {
  RequestSpec spec = Guest(1);
  spec.isolate_groups = true;
  spec.pci = {Ask("154c", 2, AffinityPolicy::kRequired, DeviceKind::kVf)};
  FitResult result = Fit(TwoPfsWithTwoVfs(), spec);
  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.devices[0].address.bus, 0x18);
  EXPECT_EQ(result.assignment.devices[1].address.bus, 0x19);
  spec.pci[0].count = 3;
  EXPECT_FALSE(Fits(TwoPfsWithTwoVfs(), spec));
}

TEST(Lim01, AnswerDoesNotDependOnHowTheNodesAreNumbered) {
  // A large and a small guest cell; only one node holds the large one.
  for (NumaNode large = 0; large < 4; ++large) {
    HostBuilder host;
    for (NumaNode node = 0; node < 4; ++node) host.Cell(node, 0, node == large ? 15 : 3);
    RequestSpec spec = Guest(2);
    spec.cells[1].vcpus = spec.cells[1].pinned = CpuSet::Range(1, 15);
    spec.vcpus = 16;
    FitResult result = Fit(host.Build(), spec);
    ASSERT_EQ(result.verdict, Verdict::kFits);
    EXPECT_EQ(result.assignment.cells[1].host, large);
  }
}

TEST(Lim02, EachGuestCellChoosesItsOwnPageSize) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 0).Build();
  host.cells[0].pages = {{4096, 1 << 20, 1 << 20}, {2 << 20, 512, 512}};
  host.cells[1].pages = {{4096, 1 << 20, 1 << 20}, {uint64_t{1} << 30, 1, 1}};
  RequestSpec spec = Guest(2);
  spec.pages.kind = PageRequest::Kind::kLarge;
  FitResult result = Fit(host, spec);
  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.cells[0].page_size_bytes, uint64_t{2} << 20);
  EXPECT_EQ(result.assignment.cells[1].page_size_bytes, uint64_t{1} << 30);
}

TEST(Lim03, DevicesThatCanNotServeDoNotHideFartherOnesThatCan) {
  // The local one is a PF: with `preferred` the VF of the other node must be found.
  FitHost host = HostBuilder()
                     .Cell(0, 0)
                     .Cell(1, 1, 0)
                     .Pf("0000:18:00.0", 0)
                     .Vf("0000:81:02.0", "0000:81:00.0", 1)
                     .Build();
  RequestSpec spec = Guest(1);
  spec.pci = {Ask("154c", 1, AffinityPolicy::kPreferred)};
  EXPECT_TRUE(Fits(host, spec));
}

TEST(Lim04, AnAssignmentThatGreedyConsumptionMissesIsFound) {
  // "any" takes either product, "x" only 154d: whichever comes first, both are served.
  FitHost host =
      HostBuilder().Cell(0, 0).Pci("0000:41:00.0", 0).Vf("0000:18:02.0", "0000:18:00.0", 0).Build();
  PciRequest any = Ask("154d", 1, AffinityPolicy::kLegacy);
  any.alternatives.push_back(Ask("154c", 1, AffinityPolicy::kLegacy).alternatives[0]);
  PciRequest x = Ask("154d", 1, AffinityPolicy::kLegacy);
  RequestSpec spec = Guest(1);
  spec.pci = {any, x};
  EXPECT_TRUE(Fits(host, spec));
  spec.pci = {x, any};
  EXPECT_TRUE(Fits(host, spec));
}

TEST(Lim05, NeverFewerDevicesThanAskedFor) {
  FitHost host = HostBuilder().Cell(0, 0).Pci("0000:41:00.0", 0).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kRequired, 2));
  EXPECT_EQ(result.verdict, Verdict::kNo);
  EXPECT_EQ(result.reason.code, "devices");
  EXPECT_EQ(result.reason.have, "1");
  EXPECT_EQ(result.reason.need, "2");
}

TEST(Lim12, AnImpossibleRequestOnALargeHostIsDecidedQuickly) {
  HostBuilder builder;
  for (NumaNode node = 0; node < 16; ++node)
    builder.Cell(node, node / 8).Pci("0000:0" + std::string(1, "0123456789abcdef"[node]) + ":00.0", node);
  RequestSpec spec = Guest(8);
  spec.pci = {Ask("154d", 9, AffinityPolicy::kRequired)};
  FitResult result = Fit(builder.Build(), spec);
  EXPECT_EQ(result.verdict, Verdict::kNo);
}

TEST(Lim14, TheNumberOfNonLocalDevicesIsMinimalOverAllCellSets) {
  FitHost host = HostBuilder()
                     .Cell(0, 0)
                     .Cell(1, 0)
                     .Cell(2, 1)
                     .Pci("0000:41:00.0", 1)
                     .Pci("0000:42:00.0", 2)
                     .Pci("0000:43:00.0", 2)
                     .Build();
  FitResult result = Fit(host, GuestWith(2, AffinityPolicy::kPreferred, 3));
  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.non_local, 0u);
}

TEST(Lim21, MixedGuestCellWithoutPinnedCpusFitsUnderEveryThreadPolicy) {
  FitHost host = HostBuilder().Cell(0, 0).Cell(1, 0).Build();
  RequestSpec spec = Guest(2);
  spec.cpu_policy = CpuPolicy::kMixed;
  spec.cells[1].pinned = CpuSet();
  EXPECT_TRUE(Fits(host, spec));
  spec.thread_policy = ThreadPolicy::kIsolate;
  EXPECT_TRUE(Fits(host, spec));
}

TEST(StepBudget, RunningOutIsUndecidedAndNeitherYesNorNo) {
  FitOptions options;
  options.step_budget = 1;
  options.search_only = true;
  FitResult result = Fit(SocketExample(2, 3), GuestWith(2, AffinityPolicy::kSocket), options);
  EXPECT_EQ(result.verdict, Verdict::kUndecided);
  EXPECT_EQ(result.reason.code, "undecided");
}

TEST(StableOrder, LowestAddressesAndFullestCellsAreTakenFirst) {
  FitHost host =
      HostBuilder().Cell(0, 0, 8).Cell(1, 0, 4).Pci("0000:42:00.0", 1).Pci("0000:41:00.0", 1).Build();
  FitResult result = Fit(host, GuestWith(1, AffinityPolicy::kRequired));
  ASSERT_EQ(result.verdict, Verdict::kFits);
  EXPECT_EQ(result.assignment.devices[0].address.bus, 0x41);
  FitResult plain = Fit(HostBuilder().Cell(0, 0, 8).Cell(1, 0, 4).Build(), Guest(1));
  EXPECT_EQ(plain.assignment.cells[0].host, 1u);
}

}  // namespace
}  // namespace berth::scheduler
