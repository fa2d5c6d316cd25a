// Cards as trust domains: which instances get functions of a card that is, or is not, in the secure world.
#include "tests/compute-agent/instances/reconciler_fixture.h"

namespace berth::agent {
namespace {

class SecureCardsTest : public ReconcilerTest {
 protected:
  static constexpr PciAddress kCard{0, 0x41, 0, 0};
  static constexpr PciAddress kVf0{0, 0x41, 0x10, 0};
  static constexpr PciAddress kVf1{0, 0x41, 0x10, 1};

  // As on a virtCCA host. Its VMM and its devices' drivers are of no interest here.
  void OpenWithCards() {
    options_.confidential = "sw-protected";
    Open();
    reconciler_->SetHost(TestHost(), {kVf0, kVf1}, {}, {{kVf0, kCard}, {kVf1, kCard}});
  }
  static Claim Wanting(const std::string& name, const PciAddress& device, bool confidential) {
    Claim claim = TestClaim(name, 1, 2 * kMi);
    claim.cells = {TestBinding(0, 0, "0", 2 * kMi)};
    claim.cells[0].secure = confidential;
    claim.devices = {{0, device, "vf", std::nullopt}};
    return claim;
  }
  void Remove(const Claim& claim) {
    reconciler_->PutClaim(Releasing(claim));
    EXPECT_TRUE(placement_.AwaitFinalized(claim.consumer));
    std::erase_if(started_, [&](const Claim& other) { return other.consumer == claim.consumer; });
    reconciler_->RemoveClaim(claim.consumer);
  }
};

TEST_F(SecureCardsTest, AfterAConfidentialGuestNoOrdinaryOneGetsAFunctionOfTheCardUntilTheNextBoot) {
  OpenWithCards();
  Claim secure = Wanting("secure", kVf0, true);
  Put(secure);
  ASSERT_TRUE(placement_.AwaitState(secure.consumer, InstanceState::kRunning))
      << placement_.Detail(secure.consumer);
  Claim ordinary = Wanting("ordinary", kVf1, false);
  Put(ordinary);
  EXPECT_TRUE(placement_.AwaitState(ordinary.consumer, InstanceState::kFailed));
  EXPECT_TRUE(placement_.AwaitDetail(ordinary.consumer, "stays in the secure world"));
  Remove(ordinary);
  Claim second = Wanting("second", kVf1, true);
  Put(second);
  EXPECT_TRUE(placement_.AwaitState(second.consumer, InstanceState::kRunning));
  Remove(second);
  Remove(secure);

  reconciler_.reset();
  OpenWithCards();
  Claim later = Wanting("later", kVf0, false);
  Put(later);
  EXPECT_TRUE(placement_.AwaitDetail(later.consumer, "stays in the secure world"));
}

TEST_F(SecureCardsTest, AConfidentialGuestTakesNoCardAwayFromAnOrdinaryOne) {
  OpenWithCards();
  Claim ordinary = Wanting("ordinary", kVf0, false);
  Put(ordinary);
  ASSERT_TRUE(placement_.AwaitState(ordinary.consumer, InstanceState::kRunning));
  Claim secure = Wanting("secure", kVf1, true);
  Put(secure);

  EXPECT_TRUE(placement_.AwaitState(secure.consumer, InstanceState::kFailed));
  EXPECT_TRUE(placement_.AwaitDetail(secure.consumer, "an ordinary one has another function of the card"));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(options_.state_dir) / "secure-cards"));
}

}  // namespace
}  // namespace berth::agent
