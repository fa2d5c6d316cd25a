#include "scheduler/weighers/weigher.h"

#include <gtest/gtest.h>

#include "placement/model/usage.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

// A host of two cells with 4 shared and 8 dedicated CPUs and 16 GiB each.
placement::HostReport MakeReport() {
  placement::HostReport host;
  host.name = "h";
  host.can_run_guests = true;
  for (uint32_t node = 0; node < 2; ++node) {
    placement::Cell cell;
    cell.id = node;
    cell.shared_cpus = CpuSet::Range(node * 12, node * 12 + 3);
    cell.dedicated_cpus = CpuSet::Range(node * 12 + 4, node * 12 + 11);
    for (uint32_t cpu = node * 12; cpu < node * 12 + 12; ++cpu) cell.siblings.push_back(CpuSet{cpu});
    cell.memory_bytes = 16 * kGib;
    cell.pages = {{4096, 16 * kGib / 4096, 0}};
    host.cells.push_back(std::move(cell));
  }
  host.disk_bytes = 100 * kGib;
  return host;
}

void AddDevices(placement::HostReport& host, const char* vendor, uint8_t bus, uint8_t count) {
  for (uint8_t i = 0; i < count; ++i) {
    placement::Device device;
    device.address = {0, bus, i, 0};
    device.vendor_id = vendor;
    device.product_id = "0001";
    device.numa_node = 0;
    device.assignable = true;
    device.resource_class = std::string("CUSTOM_") + vendor;
    host.devices.push_back(std::move(device));
  }
}

class WeighersTest : public ::testing::Test {
 protected:
  double Weigh(const std::string& name, const placement::HostReport& report, const RequestSpec& spec = {},
               uint32_t failures = 0, bool backing_off = false, uint32_t non_local = 0) {
    auto set = WeigherSet::Make({{name, 1.0}});
    EXPECT_TRUE(set.has_value()) << set.error().ToString();
    FitHost fit = FromHost(report, usage);
    QuickFit quick{Verdict::kFits, non_local, 0, 0};
    return set->Weigh({report, usage, fit, quick, failures, backing_off}, spec);
  }
  placement::HostUsage usage;
};

TEST_F(WeighersTest, UnknownNamesAreRefusedWithTheNearestKnownOne) {
  auto set = WeigherSet::Make({{"fragmentatoin", 1}});
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().hint(), "did you mean \"fragmentation\"?");
  EXPECT_FALSE(WeigherSet::Make({{"ram", 1}, {"ram", 2}}).has_value());
  EXPECT_FALSE(WeigherSet::Make({{"ram", 1e7}}).has_value());
}

TEST_F(WeighersTest, EachLiesBetweenZeroAndOneOnAnEmptyHost) {
  for (const std::string& name : WeigherSet::Names()) {
    double weight = Weigh(name, MakeReport());
    EXPECT_GE(weight, 0) << name;
    EXPECT_LE(weight, 1) << name;
  }
}

TEST_F(WeighersTest, RamCpuAndDiskPreferTheEmptierHost) {
  for (const char* name : {"ram", "cpu", "disk"}) {
    double empty = Weigh(name, MakeReport());
    placement::Claim claim;
    claim.consumer = Uuid::Random();
    claim.spec.vcpus = 2;
    claim.spec.memory_bytes = 4 * kGib;
    claim.spec.disk_bytes = 50 * kGib;
    placement::HostUsage before = usage;
    placement::AddClaim(claim, usage);
    EXPECT_LT(Weigh(name, MakeReport()), empty) << name;
    usage = before;
  }
}

TEST_F(WeighersTest, CpuCountsDedicatedCpusForGuestsThatPin) {
  RequestSpec pins;
  pins.cpu_policy = CpuPolicy::kDedicated;
  double empty = Weigh("cpu", MakeReport(), pins);
  placement::Claim claim;
  claim.consumer = Uuid::Random();
  claim.spec.vcpus = 2;
  claim.spec.memory_bytes = kGib;
  placement::AddClaim(claim, usage);
  EXPECT_EQ(Weigh("cpu", MakeReport(), pins), empty);  // it floats on shared CPUs
  EXPECT_LT(Weigh("cpu", MakeReport()), 1);
}

// Nova's PCIWeigher counts all free devices of a host, unrelated ones too (LIM-22).
TEST_F(WeighersTest, Lim22PciCountsOnlyThePoolThatIsAskedFor) {
  placement::HostReport last_gpu = MakeReport();
  AddDevices(last_gpu, "10de", 1, 1);
  AddDevices(last_gpu, "8086", 2, 30);
  placement::HostReport many_gpus = MakeReport();
  AddDevices(many_gpus, "10de", 1, 8);
  RequestSpec gpu;
  PciRequest request;
  DeviceMatch match;
  match.vendor_id = "10de";
  request.alternatives = {match};
  gpu.pci = {request};
  // The host with the fewest left over of what is asked for, whatever else it has.
  EXPECT_GT(Weigh("pci", last_gpu, gpu), Weigh("pci", many_gpus, gpu));
  // Who asks for none stays off hosts with devices.
  EXPECT_LT(Weigh("pci", last_gpu), Weigh("pci", MakeReport()));
}

TEST_F(WeighersTest, AffinityPrefersLocalDevices) {
  RequestSpec spec;
  PciRequest request;
  request.count = 4;
  spec.pci = {request};
  EXPECT_EQ(Weigh("affinity", MakeReport(), spec), 1);
  EXPECT_EQ(Weigh("affinity", MakeReport(), spec, 0, false, 1), 0.75);
  EXPECT_EQ(Weigh("affinity", MakeReport(), spec, 0, false, 4), 0);
}

TEST_F(WeighersTest, FragmentationPrefersWholeCells) {
  double empty = Weigh("fragmentation", MakeReport());
  placement::Claim claim;
  claim.consumer = Uuid::Random();
  claim.spec.vcpus = 1;
  placement::CellBinding cell;
  cell.vcpus = CpuSet{0};
  cell.pinning = {{0, 4}};
  claim.cells = {cell};
  placement::AddClaim(claim, usage);
  EXPECT_LT(Weigh("fragmentation", MakeReport()), empty);
}

TEST_F(WeighersTest, FailuresAndRestsCountAgainstAHost) {
  EXPECT_GT(Weigh("failure_history", MakeReport()), Weigh("failure_history", MakeReport(), {}, 1));
  EXPECT_GT(Weigh("failure_history", MakeReport(), {}, 1), Weigh("failure_history", MakeReport(), {}, 2));
  EXPECT_EQ(Weigh("build_backoff", MakeReport()), 1);
  EXPECT_EQ(Weigh("build_backoff", MakeReport(), {}, 1, true), 0);
}

TEST_F(WeighersTest, MultipliersScaleAndTurnRound) {
  FitHost fit = FromHost(MakeReport(), usage);
  placement::HostReport report = MakeReport();
  QuickFit quick{Verdict::kFits, 0, 0, 0};
  WeighedHost host{report, usage, fit, quick, 1, true};
  auto both = WeigherSet::Make({{"failure_history", 1}, {"build_backoff", 3}});
  EXPECT_DOUBLE_EQ(both->Weigh(host, {}), (0.5 + 0) / 4);
  auto turned = WeigherSet::Make({{"failure_history", -1}});
  EXPECT_DOUBLE_EQ(turned->Weigh(host, {}), -0.5);
  EXPECT_TRUE(WeigherSet::Make({{"ram", 0}})->empty());
}

}  // namespace
}  // namespace berth::scheduler
