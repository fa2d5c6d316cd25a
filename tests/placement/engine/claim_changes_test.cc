// Devices that come and go, and moves: what claims hold changes, and nothing is ever given twice.
#include <gtest/gtest.h>

#include "placement/engine/engine.h"
#include "placement/engine/state_audit.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using Change = ChangeDevice::Change;

class ClaimChangesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Apply(ReportHost{MakeHost(1)}).has_value());
    ASSERT_TRUE(Apply(ReportHost{MakeHost(2)}).has_value());
  }
  // After each test: the sums of the Placement model are those of the claims, and the state can be stored.
  void TearDown() override {
    const db::Contents contents = engine_->Export();
    Result<std::unique_ptr<Engine>> restored = Engine::Restore(contents);
    ASSERT_TRUE(restored.has_value()) << restored.error().ToString();
    for (const AuditFinding& finding : AuditState(**restored, contents)) ADD_FAILURE() << finding.text;
    for (uint8_t number : {1, 2}) {
      for (const auto& host : (*restored)->Hosts()) {
        if (host->uuid() != Id(number)) continue;
        EXPECT_EQ(host->usage, Host(number)->usage);
      }
    }
  }

  template <class Body>
  Result<Outcome> Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .body = std::move(body)});
    last_ = engine_->Commit();
    return outcome;
  }
  std::shared_ptr<const HostVersion> Host(uint8_t number) const {
    for (const auto& host : engine_->Hosts()) {
      if (host->uuid() == Id(number)) return host;
    }
    return nullptr;
  }
  Claim Instance() {
    Claim claim = FloatingClaim(10, 2, 64);
    claim.devices.push_back({0, Pci(1), "gpu", NumaNode{0}});
    EXPECT_TRUE(Apply(CreateClaim{claim, {}}).has_value());
    return claim;
  }
  Claim Reservation(const Claim& instance, uint8_t host) {
    Claim claim = FloatingClaim(11, 4, 128);
    claim.host = Id(host);
    claim.devices.push_back({0, Pci(3, 1), "vf", NumaNode{1}});
    claim.reserved_for = instance.consumer;
    claim.stays_stopped = true;
    EXPECT_TRUE(Apply(CreateClaim{claim, {}}).has_value());
    return claim;
  }

  std::unique_ptr<Engine> engine_ = *Engine::Restore({});
  Engine::Committed last_;
  uint64_t now_ = 1000;
};

TEST_F(ClaimChangesTest, ADeviceIsAddedAskedBackAndDropped) {
  Claim claim = Instance();
  DeviceBinding vf{1, Pci(3, 1), "vf", NumaNode{1}};

  Result<Outcome> added = Apply(ChangeDevice{claim.consumer, Change::kAdd, vf, Host(1)->generation});

  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  EXPECT_EQ(Host(1)->usage.devices.at(Pci(3, 1)), claim.consumer);
  EXPECT_TRUE(Apply(ChangeDevice{claim.consumer, Change::kAdd, vf, {}})->changes.empty());
  EXPECT_EQ(Apply(ChangeDevice{claim.consumer, Change::kDrop, vf, {}}).status().code(),
            StatusCode::kFailedPrecondition);

  ASSERT_TRUE(Apply(ChangeDevice{claim.consumer, Change::kLeave, vf, {}}).has_value());
  EXPECT_TRUE(Host(1)->usage.devices.contains(Pci(3, 1)));  // held until the agent says so
  EXPECT_TRUE(Apply(ChangeDevice{claim.consumer, Change::kLeave, vf, {}})->changes.empty());

  ASSERT_TRUE(Apply(ChangeDevice{claim.consumer, Change::kDrop, vf, {}}).has_value());
  EXPECT_FALSE(Host(1)->usage.devices.contains(Pci(3, 1)));
  EXPECT_TRUE(Apply(ChangeDevice{claim.consumer, Change::kDrop, vf, {}})->changes.empty());
}

TEST_F(ClaimChangesTest, ADeviceThatIsNotFreeOrAHostThatHasChangedIsRefused) {
  Claim claim = Instance();
  Claim other = FloatingClaim(12, 1, 64);
  ASSERT_TRUE(Apply(CreateClaim{other, {}}).has_value());
  const HostVersion before = *Host(1);

  EXPECT_FALSE(Apply(ChangeDevice{other.consumer, Change::kAdd, {0, Pci(1), "gpu", {}}, {}}).has_value());
  EXPECT_EQ(Apply(ChangeDevice{other.consumer, Change::kAdd, {0, Pci(3, 1), "vf", {}}, 1}).status().code(),
            StatusCode::kAborted);
  EXPECT_EQ(Apply(ChangeDevice{other.consumer, Change::kLeave, {0, Pci(3, 1), "vf", {}}, {}}).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(Apply(ChangeDevice{Id(99), Change::kAdd, {}, {}}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Host(1)->usage, before.usage);
  EXPECT_EQ(Host(1)->generation, before.generation);
}

TEST_F(ClaimChangesTest, AMoveHoldsBothPlacesUntilOneIsGivenUp) {
  Claim claim = Instance();
  Claim reservation = Reservation(claim, 2);

  Result<Outcome> moved = Apply(SwapClaims{claim.consumer, reservation.consumer, true});

  ASSERT_TRUE(moved.has_value()) << moved.error().ToString();
  EXPECT_EQ(moved->claim->host, Id(2));
  EXPECT_EQ(moved->claim->devices, reservation.devices);
  EXPECT_EQ(moved->claim->name, claim.name);
  EXPECT_TRUE(moved->claim->stays_stopped);
  EXPECT_EQ(Host(1)->usage.devices.at(Pci(1)), reservation.consumer);
  EXPECT_EQ(Host(2)->usage.devices.at(Pci(3, 1)), claim.consumer);
  EXPECT_EQ(Host(1)->usage.floating_vcpus, 2U);
  EXPECT_EQ(Host(2)->usage.floating_vcpus, 4U);
  // The host that the instance leaves hears of what is kept there before it hears that the instance is gone.
  ASSERT_EQ(last_.events.size(), 4U);
  EXPECT_EQ(last_.events[0]->host, Id(1));
  EXPECT_EQ(last_.events[0]->claim->consumer, reservation.consumer);
  EXPECT_TRUE(last_.events[0]->claim->swapped);
  EXPECT_EQ(last_.events[2]->kind, EventKind::kClaimDeleted);
  EXPECT_EQ(last_.events[2]->claim->consumer, claim.consumer);
  EXPECT_TRUE(Apply(SwapClaims{claim.consumer, reservation.consumer, true})->changes.empty());

  ASSERT_TRUE(Apply(ReleaseClaim{reservation.consumer.ToString()}).has_value());
  ASSERT_TRUE(Apply(FinalizeClaim{reservation.consumer}).has_value());
  EXPECT_EQ(Host(1)->usage, HostUsage{});
}

TEST_F(ClaimChangesTest, AMoveBackIsTheSameExchangeAgain) {
  Claim claim = Instance();
  Claim reservation = Reservation(claim, 2);
  const HostUsage one = Host(1)->usage, two = Host(2)->usage;
  ASSERT_TRUE(Apply(SwapClaims{claim.consumer, reservation.consumer, true}).has_value());
  ASSERT_TRUE(Apply(SwapClaims{claim.consumer, reservation.consumer, false}).has_value());
  EXPECT_EQ(Host(1)->usage, one);
  EXPECT_EQ(Host(2)->usage, two);
}

TEST_F(ClaimChangesTest, AResizeOnTheSameHostHoldsBothSets) {
  Claim claim = Instance();
  Claim reservation = Reservation(claim, 1);
  ASSERT_TRUE(Apply(SwapClaims{claim.consumer, reservation.consumer, true}).has_value());
  EXPECT_EQ(Host(1)->usage.devices.at(Pci(1)), reservation.consumer);
  EXPECT_EQ(Host(1)->usage.devices.at(Pci(3, 1)), claim.consumer);
  EXPECT_EQ(Host(1)->usage.floating_vcpus, 6U);
}

TEST_F(ClaimChangesTest, OnlyAnActiveClaimAndItsOwnReservationAreExchanged) {
  Claim claim = Instance();
  Claim stranger = FloatingClaim(12, 1, 64);
  ASSERT_TRUE(Apply(CreateClaim{stranger, {}}).has_value());
  Claim reservation = Reservation(stranger, 2);
  EXPECT_EQ(Apply(SwapClaims{claim.consumer, reservation.consumer, true}).status().message(),
            "claim \"" + reservation.name + "\" is not reserved for instance \"" + claim.name + "\"");
  EXPECT_EQ(Apply(SwapClaims{claim.consumer, stranger.consumer, true}).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(Apply(SwapClaims{claim.consumer, Id(99), true}).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Apply(ReleaseClaim{stranger.name}).has_value());
  EXPECT_EQ(Apply(SwapClaims{stranger.consumer, reservation.consumer, true}).status().code(),
            StatusCode::kFailedPrecondition);
  Claim self = FloatingClaim(13, 1, 64);
  self.reserved_for = self.consumer;
  EXPECT_EQ(Apply(CreateClaim{self, {}}).status().field(), "reserved_for");
}

}  // namespace
}  // namespace berth::placement
