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
