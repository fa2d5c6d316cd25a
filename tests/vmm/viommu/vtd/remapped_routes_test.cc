#include "vmm/viommu/vtd/remapped_routes.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/guest_ram.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kTable = 0x4000;
constexpr uint16_t kSource = 0x0018;

MsiMessage Handle(uint32_t index) {
  return {0xfee00010u | index << 5, 0};
}

class RemappedRoutesTest : public testing::Test {
 protected:
  void SetUp() override {
    function_.SetSource(kSource);
    route_ = *function_.AllocateRoute();
  }
  void Enable() {
    remapper_.SetTable(kTable | 1 << 11 | 7);
    remapper_.SetEnabled(true);
    routes_.RefreshAll();
  }
  void SetEntry(uint32_t index, uint8_t vector, uint16_t source = kSource) {
    ram_.PutObject(kTable + 16 * index, uint64_t{vector} << 16 | 1);
    ram_.PutObject(kTable + 16 * index + 8, uint64_t{1} << 18 | source);
  }
  std::vector<uint32_t> Delivered() {
    std::vector<uint32_t> vectors;
    for (const MsiMessage& message : real_.delivered()) vectors.push_back(message.data);
    return vectors;
  }

  GuestRam ram_{{{0, 0x10000}}};
  size_t faults_ = 0;
  FakeMsiController real_;
  InterruptRemapper remapper_{ram_.memory(), true, [this](uint16_t, uint16_t, Reason) { ++faults_; }};
  RemappedRoutes routes_{real_, remapper_};
  RemappedRoutes::Function function_{routes_};
  std::unique_ptr<MsiRoute> route_;
};

TEST_F(RemappedRoutesTest, PassesMessagesOnUntilTheGuestRemapsThem) {
  ASSERT_TRUE(route_->Set({0xfee01000, 0x31}).ok());
  route_->Trigger();
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x31}));
  Enable();
  route_->Trigger();
  EXPECT_EQ(Delivered().size(), 1u) << "the old format is blocked";
  EXPECT_EQ(faults_, 1u);
}

TEST_F(RemappedRoutesTest, FollowsTheGuestsTable) {
  Enable();
  SetEntry(5, 0x41);
  ASSERT_TRUE(route_->Set(Handle(5)).ok());
  route_->Trigger();
  // The guest moves the interrupt, and tells of it.
  SetEntry(5, 0x42);
  routes_.Refresh(6, 9);
  route_->Trigger();
  routes_.Refresh(4, 5);
  route_->Trigger();
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x41, 0x41, 0x42}));
  EXPECT_EQ(faults_, 0u);
}

TEST_F(RemappedRoutesTest, KeepsBackWhatTheTableDoesNotLetThrough) {
  Enable();
  SetEntry(5, 0x41, kSource + 8);
  ASSERT_TRUE(route_->Set(Handle(5)).ok());
  EXPECT_EQ(faults_, 1u) << "another device's entry";
  route_->Trigger();
  EXPECT_EQ(faults_, 2u);
  // What the kernel signals by itself waits until the entry is right.
  const uint64_t one = 1;
  ASSERT_EQ(write(route_->event_fd(), &one, sizeof one), ssize_t{sizeof one});
  real_.Drain();
  EXPECT_TRUE(Delivered().empty());
  SetEntry(5, 0x41);
  routes_.RefreshAll();
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x41}));
}

TEST_F(RemappedRoutesTest, AMaskedRouteStaysMaskedAndIsNoFault) {
  Enable();
  SetEntry(5, 0x41);
  ASSERT_TRUE(route_->Set(Handle(5)).ok());
  ASSERT_TRUE(route_->SetMasked(true).ok());
  ram_.PutObject(kTable + 16 * 5, uint64_t{0});
  routes_.RefreshAll();
  EXPECT_EQ(faults_, 0u);
  SetEntry(5, 0x43);
  routes_.RefreshAll();
  const uint64_t one = 1;
  ASSERT_EQ(write(route_->event_fd(), &one, sizeof one), ssize_t{sizeof one});
  real_.Drain();
  EXPECT_TRUE(Delivered().empty());
  ASSERT_TRUE(route_->SetMasked(false).ok());
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x43}));
}

TEST_F(RemappedRoutesTest, NothingComesFromAFunctionWithoutAPlace) {
  RemappedRoutes::Function early(routes_);
  auto route = *early.AllocateRoute();
  ASSERT_TRUE(route->Set({0xfee01000, 0x31}).ok());
  route->Trigger();
  EXPECT_TRUE(Delivered().empty());
  early.SetSource(0x20);
  ASSERT_TRUE(route->Set({0xfee01000, 0x31}).ok());
  route->Trigger();
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x31}));
}

TEST_F(RemappedRoutesTest, RoutesOutliveTheirFunction) {
  std::unique_ptr<MsiRoute> route;
  {
    RemappedRoutes::Function gone(routes_);
    gone.SetSource(kSource);
    route = *gone.AllocateRoute();
  }
  ASSERT_TRUE(route->Set({0xfee01000, 0x31}).ok());
  route->Trigger();
  EXPECT_EQ(Delivered(), (std::vector<uint32_t>{0x31}));
  FakeMsiController none(0);
  RemappedRoutes empty(none, remapper_);
  RemappedRoutes::Function function(empty);
  EXPECT_EQ(function.AllocateRoute().error().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace berth::vmm::vtd
