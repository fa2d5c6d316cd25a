#include <gtest/gtest.h>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/engine/refusal.h"
#include "placement/model/projection.h"
#include "tests/fakes/fake_store.h"
#include "tests/placement/model/model_builders.h"

// What commands write is what the engine holds, so that a restart gives the same state.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

class StoredState : public ::testing::Test {
 protected:
  template <class Body>
  Result<Outcome> Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .actor = "test", .body = std::move(body)});
    if (!outcome) {
      engine_->Rollback();
      return outcome;
    }
    const uint64_t sequence = engine_->Commit().sequence;
    EXPECT_TRUE(store_.Append({.changes = outcome->changes, .sequence = sequence}).ok());
    return outcome;
  }
  template <class Body>
  void Must(Body body) {
    auto outcome = Apply(std::move(body));
    ASSERT_TRUE(outcome.has_value()) << outcome.status().ToString();
  }
  static ConsumerInput Consumes(uint8_t number, std::optional<uint64_t> generation,
                                std::vector<AllocationInput> allocations) {
    ConsumerInput input;
    input.consumer = Id(number);
    input.project = "project";
    input.user = "user";
    input.check_generation = true;
    input.generation = generation;
    input.allocations = std::move(allocations);
    return input;
  }
  void ExpectStored() {
    auto restored = Engine::Restore(*store_.Load());
    ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
    EXPECT_TRUE(db::EncodeContents((*restored)->Export()) == db::EncodeContents(engine_->Export()));
  }
  const ResourceView& View() const { return engine_->resources(); }

  std::shared_ptr<db::FakeDisk> disk_ = std::make_shared<db::FakeDisk>();
  db::FakeStore store_{disk_};
  std::unique_ptr<Engine> engine_ = Fresh();
  uint64_t now_ = 1000;

 private:
  std::unique_ptr<Engine> Fresh() {
    auto engine = *Engine::Restore({});
    EXPECT_TRUE(store_.Append({.changes = engine->StartupChanges(), .sequence = 0}).ok());
    return engine;
  }
};

TEST_F(StoredState, OneRequestEmptiesTwoConsumersOfAHostThatLostWhatTheyHold) {
  Must(ReportHost{MakeHost()});
  const Uuid cell = CellProviderUuid(Id(1), 0);
  Must(SetAllocations{{Consumes(8, {}, {{cell, "PCPU", 2}}), Consumes(9, {}, {{cell, "PCPU", 2}})}, true});
  HostReport shrunk = MakeHost();
  shrunk.cells[0].dedicated_cpus = {};
  shrunk.cells[0].siblings = Pairs(shrunk.cells[0].shared_cpus);
  Must(ReportHost{shrunk});

  Must(SetAllocations{{Consumes(8, 1, {}), Consumes(9, 1, {})}, true});

  EXPECT_EQ(View().FindConsumer(Id(8)), nullptr);
  EXPECT_EQ(View().FindConsumer(Id(9)), nullptr);
  EXPECT_EQ(View().allocation_count(), 0U);
  EXPECT_TRUE(disk_->consumers.empty());
  EXPECT_EQ(*engine_->Hosts()[0]->report, shrunk);
  ExpectStored();
  Must(DeleteHost{Id(1)});
  ExpectStored();
}

TEST_F(StoredState, AHostWithAllocationsStaysEvenWithoutClaims) {
  Must(ReportHost{MakeHost()});
  Must(SetAllocations{{Consumes(8, {}, {{CellProviderUuid(Id(1), 0), "VCPU", 1}})}, false});
  db::Contents contents = *store_.Load();
  contents.claims.clear();
  auto restored = Engine::Restore(contents);
  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();

  auto outcome = (*restored)->Apply({.at_ms = ++now_, .actor = "test", .body = DeleteHost{Id(1)}});

  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(outcome.status().field(), "host");
}

}  // namespace
}  // namespace berth::placement
