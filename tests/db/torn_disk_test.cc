#include "tests/fakes/torn_disk.h"

#include <gtest/gtest.h>

#include "db/record_codec.h"
#include "db/sqlite/sqlite_store.h"
#include "placement/engine/engine.h"
#include "tests/placement/model/random_claims.h"

// Power cuts at every kind of moment: what was acknowledged is there after the reboot, the batch under way is
// there wholly or not at all, and nothing else is.
namespace berth::db {
namespace {

using namespace placement::testing;  // NOLINT(google-build-using-namespace)
using placement::Command;
using placement::Engine;

constexpr char kPath[] = "/torn/placement.db";

class TornHistory {
 public:
  explicit TornHistory(uint32_t seed) : random_(seed), disk_(seed) {}

  void Run() {
    for (int life = 0; life < 4 && !::testing::Test::HasFatalFailure(); ++life) Life();
  }
  uint32_t acknowledged() const { return acknowledged_; }
  uint32_t cuts() const { return cuts_; }
  uint32_t survived() const { return survived_; }

 private:
  // One life of the process, ended by a power cut (or, seldom, in peace).
  void Life() {
    disk_.Reboot();
    disk_.FailAfter(Pick(random_, 400));
    Result<std::unique_ptr<Store>> store = OpenSqliteStore(kPath);
    Result<Contents> contents = store ? (*store)->Load() : Result<Contents>(store.error());
    if (contents) {
      Result<std::unique_ptr<Engine>> engine = Engine::Restore(*contents);
      ASSERT_TRUE(engine.has_value()) << engine.status().ToString();
      Compare(**engine);
      if (::testing::Test::HasFatalFailure()) return;
      Work(**engine, **store);
    } else {
      // Only a lack of power is an excuse.
      ASSERT_TRUE(disk_.failed()) << contents.status().ToString();
    }
    cuts_ += disk_.failed() ? 1 : 0;
  }

  void Work(Engine& engine, Store& store) {
    std::vector<Change> startup = engine.StartupChanges();
    for (int batch = 0; batch < 40; ++batch) {
      Batch changes;
      changes.changes = startup;
      for (uint32_t n = 1 + Pick(random_, 4); n > 0; --n) {
        auto outcome = engine.Apply({.at_ms = ++now_, .actor = "torn", .body = RandomBody()});
        if (!outcome) continue;
        std::move(outcome->changes.begin(), outcome->changes.end(), std::back_inserter(changes.changes));
      }
      changes.sequence = engine.sequence();
      if (changes.changes.size() == startup.size()) continue;
      engine.Commit();
      const std::string state = EncodeContents(engine.Export());
      if (!store.Append(changes).ok()) {
        ASSERT_TRUE(disk_.failed());
        in_flight_ = state;  // may be there or not
        return;
      }
      startup.clear();
      durable_ = state;
      in_flight_.clear();
      ++acknowledged_;
    }
  }

  void Compare(const Engine& engine) {
    std::string state = EncodeContents(engine.Export());
    if (durable_.empty() && in_flight_.empty()) return;
    if (!in_flight_.empty() && state == in_flight_) {
      ++survived_;
      durable_ = state;
    }
    in_flight_.clear();
    if (durable_.empty()) return;  // nothing was acknowledged yet
    ASSERT_EQ(state, durable_) << "after power cut " << cuts_;
  }

  decltype(Command::body) RandomBody() {
    auto host = static_cast<uint8_t>(1 + Pick(random_, 2));
    Uuid provider = Id(static_cast<uint8_t>(200 + Pick(random_, 4)));
    switch (Pick(random_, 8)) {
      case 0:
        return placement::ReportHost{MakeHost(host)};
      case 1: {
        placement::Claim claim = RandomClaim(random_, static_cast<uint8_t>(Pick(random_, 20)));
        claim.host = Id(host);
        return placement::CreateClaim{std::move(claim), {}};
      }
      case 2:
        return placement::ReleaseClaim{"vm" + std::to_string(Pick(random_, 20))};
      case 3:
        return placement::FinalizeClaim{Id(static_cast<uint8_t>(100 + Pick(random_, 20)))};
      case 4:
        return placement::CreateProvider{provider, "p" + provider.ToString(), {}};
      case 5: {
        placement::InventoryInput vcpu;
        vcpu.resource_class = "VCPU";
        vcpu.total = 40;
        return placement::SetInventories{provider, {}, {vcpu}};
      }
      default: {
        placement::ConsumerInput input;
        input.consumer = Id(static_cast<uint8_t>(50 + Pick(random_, 20)));
        if (Pick(random_, 4) != 0)
          input.allocations = {{provider, "VCPU", static_cast<int32_t>(1 + Pick(random_, 5))}};
        return placement::SetAllocations{{std::move(input)}, false};
      }
    }
  }

  placement::testing::Random random_;
  fakes::TornDisk disk_;
  uint64_t now_ = 1000;
  std::string durable_;    // the last acknowledged state
  std::string in_flight_;  // the one after it, whose fate nobody told
  uint32_t acknowledged_ = 0;
  uint32_t cuts_ = 0;
  uint32_t survived_ = 0;
};

TEST(TornDisk, NoAcknowledgedBatchIsLostAndNoneIsThereInPart) {
  uint32_t acknowledged = 0;
  uint32_t cuts = 0;
  uint32_t survived = 0;
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TornHistory history(seed);
    history.Run();
    if (HasFatalFailure()) return;
    acknowledged += history.acknowledged();
    cuts += history.cuts();
    survived += history.survived();
  }
  EXPECT_GT(acknowledged, 500U);
  EXPECT_GT(survived, 0U);
  EXPECT_GT(cuts, 60U);
  std::printf("%u batches acknowledged, %u power cuts, %u batches found that nobody had acknowledged\n",
              acknowledged, cuts, survived);
}

}  // namespace
}  // namespace berth::db
