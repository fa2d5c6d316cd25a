#include "scheduler/fit/fragmentation.h"

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

FitDevice Gpu(DeviceKind kind) {
  FitDevice device;
  device.kind = kind;
  device.vendor_id = "10de";
  device.product_id = kind == DeviceKind::kVf ? "0001" : "0002";
  return device;
}

class Fragmentation : public testing::Test {
 protected:
  Fragmentation()
      : whole_(types_.NumberOf(Gpu(DeviceKind::kPf))),
        slice_(types_.NumberOf(Gpu(DeviceKind::kVf))),
        objective_({{whole_, slice_, 10}}, HostScale{8, uint64_t{1} << 34, 2}, types_) {}

  // A host whose GPUs have so many of 10 slices left.
  FitHost Host(const std::vector<uint32_t>& left, uint32_t vcpus) {
    FitHost host;
    host.rules = FitRules::kClaims;
    host.base_room_bytes = uint64_t{1} << 34;
    FitCell cell;
    cell.shared_cpus = CpuSet::Range(0, vcpus - 1);
    host.cells.push_back(cell);
    Prepare(host, types_);
    for (size_t i = 0; i < left.size(); ++i) {
      DeviceGroup group;
      group.family = static_cast<int32_t>(i);
      group.type = whole_;
      group.is_parent = true;
      group.count = 1;
      if (left[i] == 10) host.groups.push_back(group);
      group.type = slice_;
      group.is_parent = false;
      group.count = left[i];
      if (left[i] > 0) host.groups.push_back(group);
    }
    return host;
  }

  static Demand Share(uint32_t thousandths, uint64_t vcpus = 1) {
    Demand demand;
    demand.floating_vcpus = vcpus;
    demand.devices = 1;
    demand.share = thousandths;
    demand.kinds = 1;
    return demand;
  }

  DeviceTypes types_;
  uint32_t whole_;
  uint32_t slice_;
  FragmentationObjective objective_;
};

TEST_F(Fragmentation, AGpuIsCountedOnceWithItsSlices) {
  DeviceRoom room = objective_.RoomOf(Host({10, 4, 0}, 8));

  ASSERT_EQ(room.devices, 2u);
  EXPECT_EQ(room.share[0], 1000u);
  EXPECT_EQ(room.share[1], 400u);
  EXPECT_EQ(room.floating_vcpus, 8u);
}

TEST_F(Fragmentation, IsWhatTheUsualRequestsCanNotUse) {
  objective_.SetUsual({{Share(1000), 1.0}});
  // 400 thousandths are of no use to those who want a whole one.
  EXPECT_DOUBLE_EQ(objective_.Fragmentation(objective_.RoomOf(Host({10, 4}, 8))), 400);
  // Without a CPU nothing is of use.
  FitHost full = Host({10, 4}, 8);
  full.floating_vcpus = 8;
  EXPECT_DOUBLE_EQ(objective_.Fragmentation(objective_.RoomOf(full)), 1400);
}

TEST_F(Fragmentation, ASmallShareGoesToTheGpuThatIsBrokenAlready) {
  objective_.SetUsual({{Share(1000), 0.5}, {Share(300), 0.5}});
  DeviceRoom room = objective_.RoomOf(Host({10, 4}, 8));

  FragmentationObjective::Placement placed = objective_.Place(room, Share(300));

  ASSERT_EQ(placed.devices.size(), 1u);
  EXPECT_EQ(placed.devices[0], 1u);
}

TEST_F(Fragmentation, DemandsAreReadFromRequests) {
  RequestSpec spec;
  spec.vcpus = 4;
  spec.memory_bytes = 1 << 20;
  PciRequest request;
  request.count = 3;
  DeviceMatch match;
  match.vendor_id = "10de";
  match.kind = DeviceKind::kVf;
  request.alternatives = {match};
  spec.pci = {request};

  Demand slices = objective_.DemandOf(spec);
  spec.pci.front().alternatives.front().kind = DeviceKind::kPf;
  Demand whole = objective_.DemandOf(spec);

  EXPECT_EQ(slices.devices, 1u);
  EXPECT_EQ(slices.share, 300u);
  EXPECT_EQ(whole.devices, 3u);
  EXPECT_EQ(whole.share, 1000u);
  EXPECT_EQ(whole.floating_vcpus, 4u);
}

TEST_F(Fragmentation, TheFullerOfEqualHostsIsWorthMore) {
  objective_.SetUsual({{Share(1000), 1.0}});
  QuickFit fit;
  fit.verdict = Verdict::kFits;
  RequestSpec spec;
  spec.vcpus = 1;
  Demand plain = objective_.DemandOf(spec);

  double empty = objective_.Weigh(Host({}, 8), spec, plain, fit);
  FitHost used = Host({}, 8);
  used.floating_vcpus = 4;
  used.base_room_bytes /= 2;
  double fuller = objective_.Weigh(used, spec, plain, fit);
  double beside_gpus = objective_.Weigh(Host({10, 10}, 2), spec, plain, fit);

  EXPECT_GT(fuller, empty);
  EXPECT_GT(empty, beside_gpus);
  EXPECT_GE(beside_gpus, 0);
  EXPECT_LE(fuller, 1);
}

}  // namespace
}  // namespace berth::scheduler
