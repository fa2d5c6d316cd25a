#include "vmm/kvm/interrupt_routes.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include <unistd.h>

#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

class InterruptRoutesTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok()); }

  FakeKvm kvm_;
  std::unique_ptr<KvmVm> vm_ = *kvm_.CreateVm();
  InterruptRoutes routes_{*vm_, 24};
};

TEST_F(InterruptRoutesTest, HandsOutGsisBehindThePins) {
  auto first = *routes_.AllocateRoute();
  auto second = *routes_.AllocateRoute();

  ASSERT_TRUE(first->Set({0xfee00000, 0x41}).ok());
  ASSERT_TRUE(second->Set({0xfee01000, 0x42}).ok());

  std::vector<GsiRoute> expected = {{24, {0xfee00000, 0x41}}, {25, {0xfee01000, 0x42}}};
  EXPECT_EQ(kvm_.vm().routes, expected);
  EXPECT_EQ(kvm_.vm().irqfds.at(first->event_fd()), 24u);
  EXPECT_EQ(kvm_.vm().irqfds.at(second->event_fd()), 25u);
}

TEST_F(InterruptRoutesTest, FreesTheGsiWithTheRoute) {
  auto first = *routes_.AllocateRoute();
  ASSERT_TRUE(first->Set({0xfee00000, 0x41}).ok());

  first.reset();

  EXPECT_TRUE(kvm_.vm().routes.empty());
  EXPECT_TRUE(kvm_.vm().irqfds.empty());
  auto next = *routes_.AllocateRoute();
  ASSERT_TRUE(next->Set({0xfee00000, 0x43}).ok());
  EXPECT_EQ(kvm_.vm().routes[0].gsi, 24u);
}

TEST_F(InterruptRoutesTest, TriggersOnlyOnceAMessageIsSet) {
  auto route = *routes_.AllocateRoute();
  uint64_t count = 0;

  route->Trigger();
  EXPECT_EQ(::read(route->event_fd(), &count, sizeof count), -1);

  ASSERT_TRUE(route->Set({0xfee00000, 0x41}).ok());
  route->Trigger();
  EXPECT_EQ(::read(route->event_fd(), &count, sizeof count), 8);
  EXPECT_EQ(count, 1u);
}

TEST_F(InterruptRoutesTest, TellsKvmOnceForABatch) {
  std::vector<std::unique_ptr<MsiRoute>> routes;
  for (int i = 0; i < 50; i++) routes.push_back(*routes_.AllocateRoute());
  uint32_t before = kvm_.vm().route_commits;

  ASSERT_TRUE(routes_
                  .Batch([&routes] {
                    for (auto& route : routes) TRY(route->Set({0xfee00000, 0x41}));
                    return OkStatus();
                  })
                  .ok());

  EXPECT_EQ(kvm_.vm().route_commits, before + 1);
  EXPECT_EQ(kvm_.vm().routes.size(), 50u);
}

TEST_F(InterruptRoutesTest, LeavesTheTableAsItWasWhenKvmRefuses) {
  auto route = *routes_.AllocateRoute();
  ASSERT_TRUE(route->Set({0xfee00000, 0x41}).ok());
  kvm_.FailCall(KvmCall::kSetRoutes, ENOMEM);

  EXPECT_EQ(route->Set({0xfee00000, 0x99}).code(), StatusCode::kResourceExhausted);

  ASSERT_TRUE(routes_.SetPin(3, MsiMessage{0xfee00000, 0x8055}).ok());
  std::vector<GsiRoute> expected = {{3, {0xfee00000, 0x8055}}, {24, {0xfee00000, 0x41}}};
  EXPECT_EQ(kvm_.vm().routes, expected);
}

TEST_F(InterruptRoutesTest, DoesNotAskKvmForTheSameMessageTwice) {
  auto route = *routes_.AllocateRoute();
  ASSERT_TRUE(route->Set({0xfee00000, 0x41}).ok());
  uint32_t before = kvm_.vm().route_commits;

  ASSERT_TRUE(route->Set({0xfee00000, 0x41}).ok());

  EXPECT_EQ(kvm_.vm().route_commits, before);
}

TEST_F(InterruptRoutesTest, EndsWhenAllGsisAreTaken) {
  std::vector<std::unique_ptr<MsiRoute>> routes;
  for (uint32_t gsi = 24; gsi < 200; gsi++) routes.push_back(*routes_.AllocateRoute());
  EXPECT_EQ(routes_.SetPin(24, MsiMessage{}).code(), StatusCode::kOutOfRange);

  InterruptRoutes none(*vm_, kMaxGsiRoutes);
  EXPECT_EQ(none.AllocateRoute().status().code(), StatusCode::kResourceExhausted);
}

TEST(InterruptRoutes, KeepsWhatIsTriggeredWhileARouteIsMasked) {
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  ASSERT_TRUE(vm->EnableSplitIrqchip(24).ok());
  InterruptRoutes routes(*vm, 24);
  auto route = *routes.AllocateRoute();
  EXPECT_FALSE(InterruptWaits(*route));
  ASSERT_TRUE(route->Set({0xfee00000, 0x41}).ok());
  EXPECT_EQ(kvm.vm().irqfds.size(), 1u);

  ASSERT_TRUE(route->SetMasked(true).ok());
  EXPECT_TRUE(kvm.vm().irqfds.empty());
  route->Trigger();
  EXPECT_TRUE(InterruptWaits(*route));
  ASSERT_TRUE(route->SetMasked(false).ok());

  EXPECT_EQ(kvm.vm().irqfds.at(route->event_fd()), 24u);
  EXPECT_FALSE(InterruptWaits(*route));  // the kernel delivers what it finds when the irqfd is assigned
}

}  // namespace
}  // namespace berth::vmm
