#include <gtest/gtest.h>

#include <functional>

#include "db/record_codec.h"
#include "db/sqlite/sqlite_store.h"
#include "tests/fakes/fake_store.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/model/model_builders.h"

// What every Store must do: the real one and the fake that other tests use in its place.
namespace berth::db {
namespace {

using namespace placement::testing;  // NOLINT(google-build-using-namespace)
using placement::Claim;
using placement::HostReport;

// Opens stores on one place, again and again.
class Place {
 public:
  virtual ~Place() = default;
  virtual std::unique_ptr<Store> Open() = 0;
};

class SqlitePlace : public Place {
 public:
  std::unique_ptr<Store> Open() override {
    auto store = OpenSqliteStore((folder_.path() / "store.db").string());
    EXPECT_TRUE(store.has_value()) << store.status().ToString();
    return store ? *std::move(store) : nullptr;
  }

 private:
  fakes::TempFolder folder_;
};

class FakePlace : public Place {
 public:
  std::unique_ptr<Store> Open() override { return std::make_unique<FakeStore>(disk_); }

 private:
  std::shared_ptr<FakeDisk> disk_ = std::make_shared<FakeDisk>();
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Place>()> make;
};

class StoreContract : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Place> place_ = GetParam().make();
};

std::shared_ptr<const HostReport> Report(uint8_t number) {
  return std::make_shared<const HostReport>(MakeHost(number));
}

PutHost Put(uint8_t number, uint64_t generation) {
  auto report = Report(number);
  return {{.generation = generation, .reported = report, .effective = report}};
}

PutClaim PutOne(const Claim& claim) {
  return {std::make_shared<const Claim>(claim)};
}

AddEvent HostEvent(uint64_t sequence, uint8_t number) {
  Event event;
  event.sequence = sequence;
  event.kind = EventKind::kHostChanged;
  event.host = Id(number);
  event.generation = 1;
  event.at_ms = 1000 + sequence;
  event.report = Report(number);
  return {std::make_shared<const Event>(event)};
}

using placement::Consumer;
using placement::Inventory;
using placement::Provider;
using placement::ProviderTree;
using placement::ResourceClassId;
using placement::TraitId;

// A root and a child.
std::shared_ptr<const ProviderTree> Tree(uint64_t generation) {
  Provider root;
  root.uuid = Id(60);
  root.name = "root";
  root.generation = generation;
  root.created_at_ms = 5;
  Provider child = root;
  child.uuid = Id(61);
  child.name = "child";
  child.parent = Id(60);
  child.inventories = {Inventory{.resource_class = ResourceClassId{3}, .total = 8, .allocation_ratio = 1.5}};
  child.used = {0};
  child.traits = {TraitId{1}, TraitId{4}};
  child.inventories_at_ms = 6;
  return ProviderTree::Make({child, root}, placement::TreeOwner::kClients);
}

PutConsumer Holder(uint8_t number, int32_t amount) {
  Consumer consumer;
  consumer.uuid = Id(number);
  consumer.generation = 2;
  consumer.allocations = {{Id(61), ResourceClassId{3}, amount}};
  consumer.created_at_ms = 7;
  return {std::make_shared<const Consumer>(consumer)};
}

AddAudit Audit(uint64_t number) {
  return {{number, 1000 + number, "req-1 admin", "set_traits", "root"}};
}

std::string StateOf(Store& store) {
  Result<Contents> contents = store.Load();
  EXPECT_TRUE(contents.has_value()) << contents.status().ToString();
  return contents ? EncodeContents(*contents) : "";
}

TEST_P(StoreContract, BeginsEmpty) {
  Result<Contents> contents = place_->Open()->Load();

  ASSERT_TRUE(contents.has_value());
  EXPECT_EQ(EncodeContents(*contents), EncodeContents({}));
}

TEST_P(StoreContract, KeepsWhatWasAppendedOverReopening) {
  auto store = place_->Open();
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5}, 2 * kMib)});
  claim.devices = {Bind(Pci(1))};
  auto effective = std::make_shared<HostReport>(MakeHost(2));
  effective->warnings = {"kept"};
  PutHost second{{.generation = 7, .reported = Report(2), .effective = effective}};

  ASSERT_EQ(store->Append({.changes = {Put(1, 3), second, PutOne(claim), HostEvent(1, 1)}, .sequence = 1}),
            OkStatus());
  std::string before = StateOf(*store);
  store.reset();
  store = place_->Open();

  EXPECT_EQ(StateOf(*store), before);
  Result<Contents> contents = store->Load();
  ASSERT_TRUE(contents.has_value());
  ASSERT_EQ(contents->hosts.size(), 2U);
  EXPECT_EQ(contents->hosts[0].generation, 3U);
  EXPECT_EQ(*contents->hosts[1].effective, *effective);
  EXPECT_EQ(*contents->hosts[1].reported, MakeHost(2));
  ASSERT_EQ(contents->claims.size(), 1U);
  EXPECT_EQ(*contents->claims[0], claim);
  ASSERT_EQ(contents->events.size(), 1U);
  EXPECT_EQ(*contents->events[0]->report, MakeHost(1));
  EXPECT_EQ(contents->events[0]->at_ms, 1001U);
  EXPECT_EQ(contents->sequence, 1U);
}

TEST_P(StoreContract, ReplacesAndDeletes) {
  auto store = place_->Open();
  Claim claim = FloatingClaim(1, 2, 64);
  ASSERT_EQ(store->Append({.changes = {Put(1, 1), PutOne(claim)}, .sequence = 0}), OkStatus());
  claim.phase = placement::ClaimPhase::kReleasing;

  ASSERT_EQ(store->Append({.changes = {PutOne(claim), PutGeneration{Id(1), 9}}, .sequence = 0}), OkStatus());
  Result<Contents> contents = store->Load();
  ASSERT_EQ(contents->claims.size(), 1U);
  EXPECT_EQ(contents->claims[0]->phase, placement::ClaimPhase::kReleasing);
  EXPECT_EQ(contents->hosts[0].generation, 9U);

  ASSERT_EQ(store->Append({.changes = {DeleteClaim{claim.consumer}, DeleteHost{Id(1)}}, .sequence = 5}),
            OkStatus());
  contents = store->Load();
  EXPECT_TRUE(contents->claims.empty());
  EXPECT_TRUE(contents->hosts.empty());
  EXPECT_EQ(contents->sequence, 5U);
}

TEST_P(StoreContract, AppliesABatchWhollyOrNotAtAll) {
  auto store = place_->Open();
  ASSERT_EQ(store->Append({.changes = {Put(1, 1), HostEvent(1, 1)}, .sequence = 1}), OkStatus());
  std::string before = StateOf(*store);

  // The last change cannot be: the number is used.
  Status status =
      store->Append({.changes = {Put(2, 1), PutGeneration{Id(1), 2}, HostEvent(1, 2)}, .sequence = 2});

  EXPECT_EQ(status.code(), StatusCode::kInternal) << status.ToString();
  EXPECT_EQ(StateOf(*store), before);
  EXPECT_EQ(store->Append({.changes = {Put(2, 1)}, .sequence = 2}), OkStatus());
}

TEST_P(StoreContract, RefusesAClaimWithoutItsHostAndAHostWithClaimsToGo) {
  auto store = place_->Open();
  EXPECT_FALSE(store->Append({.changes = {PutOne(FloatingClaim(1, 1, 64))}, .sequence = 0}).ok());
  ASSERT_EQ(store->Append({.changes = {Put(1, 1), PutOne(FloatingClaim(1, 1, 64))}, .sequence = 0}),
            OkStatus());
  EXPECT_FALSE(store->Append({.changes = {DeleteHost{Id(1)}}, .sequence = 0}).ok());
  EXPECT_EQ(store->Load()->hosts.size(), 1U);
}

TEST_P(StoreContract, DropsOldEventsButNotTheSequence) {
  auto store = place_->Open();
  ASSERT_EQ(store->Append({.changes = {HostEvent(1, 1), HostEvent(2, 1), HostEvent(3, 1)}, .sequence = 3}),
            OkStatus());

  ASSERT_EQ(store->Append({.changes = {HostEvent(4, 1)}, .sequence = 4, .drop_events_through = 2}),
            OkStatus());

  Result<Contents> contents = store->Load();
  ASSERT_EQ(contents->events.size(), 2U);
  EXPECT_EQ(contents->events[0]->sequence, 3U);
  EXPECT_EQ(contents->sequence, 4U);
}

TEST_P(StoreContract, KeepsThePlacementModelOverReopening) {
  auto store = place_->Open();
  auto tree = Tree(3);

  ASSERT_EQ(store->Append({.changes = {PutName{{NameKind::kTrait, 7, "CUSTOM_T", 1, 2}}, PutProvider{tree, 0},
                                       PutProvider{tree, 1}, PutGenerations{tree}, Holder(70, 4), Audit(1)},
                           .sequence = 0}),
            OkStatus());
  store.reset();
  store = place_->Open();

  Result<Contents> contents = store->Load();
  ASSERT_TRUE(contents.has_value()) << contents.status().ToString();
  ASSERT_EQ(contents->names.size(), 1U);
  EXPECT_EQ(contents->names[0].name, "CUSTOM_T");
  EXPECT_EQ(contents->names[0].updated_at_ms, 2U);
  ASSERT_EQ(contents->providers.size(), 2U);
  Provider expected = tree->At(1);
  expected.generation = 0;
  expected.used.clear();
  EXPECT_EQ(contents->providers[1].provider, expected);
  ASSERT_EQ(contents->generations.size(), 1U);
  EXPECT_EQ(contents->generations[0].generations, (std::vector<uint64_t>{3, 3}));
  ASSERT_EQ(contents->consumers.size(), 1U);
  EXPECT_EQ(*contents->consumers[0], *Holder(70, 4).consumer);
  EXPECT_EQ(contents->audit, 1U);
  EXPECT_EQ(store->Verify(), OkStatus());
}

TEST_P(StoreContract, ReplacesAndForgetsThePlacementModel) {
  auto store = place_->Open();
  ASSERT_EQ(
      store->Append({.changes = {PutName{{NameKind::kTrait, 7, "CUSTOM_T", 1, 2}}, PutProvider{Tree(3), 1},
                                 PutGenerations{Tree(3)}, Holder(70, 4), Holder(71, 1)},
                     .sequence = 0}),
      OkStatus());

  ASSERT_EQ(store->Append({.changes = {DeleteName{NameKind::kTrait, 7}, PutGenerations{Tree(4)},
                                       Holder(70, 5), DeleteConsumer{Id(71)}},
                           .sequence = 0}),
            OkStatus());
  Result<Contents> contents = store->Load();
  EXPECT_TRUE(contents->names.empty());
  EXPECT_EQ(contents->generations[0].generations[0], 4U);
  ASSERT_EQ(contents->consumers.size(), 1U);
  EXPECT_EQ(contents->consumers[0]->allocations[0].amount, 5);
  ASSERT_EQ(store->Append({.changes = {DeleteProvider{Id(61)}, DeleteGenerations{Id(60)}}, .sequence = 0}),
            OkStatus());
  contents = store->Load();
  EXPECT_TRUE(contents->providers.empty());
  EXPECT_TRUE(contents->generations.empty());
}

TEST_P(StoreContract, ReadsTheLastAuditRowsAndDropsOldOnes) {
  auto store = place_->Open();
  ASSERT_EQ(store->Append({.changes = {Audit(1), Audit(2), Audit(3)}, .sequence = 0}), OkStatus());
  ASSERT_EQ(store->Append({.changes = {Audit(4)}, .sequence = 0, .drop_audit_through = 2}), OkStatus());

  auto rows = store->ReadAudit(10);
  ASSERT_TRUE(rows.has_value());
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0].number, 4U);
  EXPECT_EQ((*rows)[0].actor, "req-1 admin");
  EXPECT_EQ(store->ReadAudit(1)->size(), 1U);
  EXPECT_EQ(store->Load()->first_audit, 3U);
}

TEST_P(StoreContract, RaisesTheEpochWithEachOpening) {
  uint64_t first = place_->Open()->epoch();
  EXPECT_GT(first, 0U);
  EXPECT_EQ(place_->Open()->epoch(), first + 1);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract,
                         ::testing::Values(Kind{"Sqlite", [] { return std::make_unique<SqlitePlace>(); }},
                                           Kind{"Fake", [] { return std::make_unique<FakePlace>(); }}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(FakeStore, FailsAsItIsTold) {
  auto disk = std::make_shared<FakeDisk>();
  FakeStore store(disk);
  store.FailNext(FakeStore::Fault::kFull);
  EXPECT_EQ(store.Append({.changes = {Put(1, 1)}, .sequence = 0}).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(disk->hosts.empty());
  store.FailNext(FakeStore::Fault::kCrashAfterCommit);
  EXPECT_EQ(store.Append({.changes = {Put(1, 1)}, .sequence = 0}).code(), StatusCode::kUnknown);
  EXPECT_EQ(disk->hosts.size(), 1U);
  EXPECT_EQ(store.Append({.changes = {Put(2, 1)}, .sequence = 0}).code(), StatusCode::kUnknown);
  EXPECT_EQ(disk->hosts.size(), 1U);
}

TEST(FakeStore, IsFencedByANewerOpening) {
  auto disk = std::make_shared<FakeDisk>();
  FakeStore old(disk);
  FakeStore fresh(disk);
  EXPECT_EQ(old.Append({.changes = {Put(1, 1)}, .sequence = 0}).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(fresh.Append({.changes = {Put(1, 1)}, .sequence = 0}), OkStatus());
}

}  // namespace
}  // namespace berth::db
