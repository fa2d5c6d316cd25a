#include <gtest/gtest.h>

#include "placement/engine/engine.h"
#include "placement/engine/refusal.h"
#include "placement/model/projection.h"
#include "tests/placement/model/model_builders.h"

// Commands and stores that no honest client or agent makes are refused, with a reason.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

class HostileCommands : public ::testing::Test {
 protected:
  template <class Body>
  Status Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .actor = "test", .body = std::move(body)});
    engine_->Commit();
    return outcome ? OkStatus() : outcome.error();
  }
  template <class Body>
  void ExpectRefused(Body body, Refusal refusal, const std::string& text) {
    Status status = Apply(std::move(body));
    EXPECT_EQ(RefusalOf(status), refusal) << status.ToString();
    EXPECT_EQ(status.message(), text);
  }

  std::unique_ptr<Engine> engine_ = *Engine::Restore({});
  uint64_t now_ = 1000;
};

TEST_F(HostileCommands, TheNilUuidNamesNoProvider) {
  ASSERT_TRUE(Apply(CreateProvider{Id(1), "root", {}}).ok());
  const std::string unable =
      "Unable to create resource provider \"nil\", 00000000-0000-0000-0000-000000000000: the nil UUID names "
      "nothing.";

  ExpectRefused(CreateProvider{Uuid{}, "nil", {}}, Refusal::kBadRequest, unable);
  ExpectRefused(CreateProvider{Uuid{}, "nil", Id(1)}, Refusal::kBadRequest, unable);
  EXPECT_EQ(engine_->resources().FindProvider(Id(1)).tree->size(), 1U);
}

TEST_F(HostileCommands, AStoreWithANilUuidIsRefused) {
  ASSERT_TRUE(Apply(CreateProvider{Id(1), "root", {}}).ok());
  ASSERT_TRUE(Apply(CreateProvider{Id(2), "child", Id(1)}).ok());
  db::Contents contents = engine_->Export();
  for (db::ProviderRecord& record : contents.providers) {
    if (record.provider.uuid == Id(2)) record.provider.uuid = Uuid{};
  }

  EXPECT_EQ(Engine::Restore(contents).status().code(), StatusCode::kDataLoss);
}

TEST_F(HostileCommands, TheNilUuidNamesNoConsumer) {
  ASSERT_TRUE(Apply(CreateProvider{Id(1), "root", {}}).ok());
  ConsumerInput input;
  input.allocations = {{Id(1), "VCPU", 1}};

  ExpectRefused(SetAllocations{{input}, false}, Refusal::kBadRequest,
                "Consumer 00000000-0000-0000-0000-000000000000 is no consumer: the nil UUID names nothing.");
}

TEST_F(HostileCommands, AClassOfAHostKeepsItsName) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).ok());
  ASSERT_TRUE(Apply(CreateResourceClass{"CUSTOM_FREE", false}).ok());

  ExpectRefused(RenameResourceClass{"CUSTOM_PCI_8086_1889", "CUSTOM_OTHER"}, Refusal::kConflict,
                "Cannot rename resource class CUSTOM_PCI_8086_1889: hosts' agents report inventory of it.");
  EXPECT_TRUE(Apply(RenameResourceClass{"CUSTOM_FREE", "CUSTOM_OTHER"}).ok());
  Claim claim = FloatingClaim(1, 2, 64);
  claim.devices = {Bind(Pci(2, 1))};
  EXPECT_TRUE(Apply(CreateClaim{claim, {}}).ok());
}

TEST_F(HostileCommands, AHostWithTheUuidOfAnothersCellIsRefused) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).ok());
  HostReport thief = MakeHost(2);
  thief.uuid = CellProviderUuid(Id(1), 0);

  Status status = Apply(ReportHost{thief});

  EXPECT_EQ(status.code(), StatusCode::kAlreadyExists) << status.ToString();
  EXPECT_EQ(status.field(), "uuid");
  EXPECT_EQ(engine_->resources().FindProvider(Id(1)).tree->size(), 6U);
}

// Less than a MiB is no inventory, and held it counts as one.
TEST_F(HostileCommands, AClaimOfWhatIsNoInventoryIsRefused) {
  HostReport host = MakeHost();
  for (Cell& cell : host.cells) {
    cell.pages[0].total = 64;
    cell.memory_bytes = cell.pages[1].total * cell.pages[1].size_bytes + uint64_t{64} * 4096;
  }
  ASSERT_TRUE(Apply(ReportHost{host}).ok());
  Claim claim = FloatingClaim(1, 1, 0);
  claim.spec.memory_bytes = 4096;

  Status status = Apply(CreateClaim{claim, {}});

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
  EXPECT_NE(status.message().find("host1 has no inventory of MEMORY_MB"), std::string::npos)
      << status.ToString();
  EXPECT_EQ(engine_->resources().FindConsumer(claim.consumer), nullptr);
}

}  // namespace
}  // namespace berth::placement
