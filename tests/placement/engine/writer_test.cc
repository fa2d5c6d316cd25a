#include "placement/engine/writer.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "db/record_codec.h"
#include "tests/fakes/fake_store.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using db::FakeStore;

// A store whose commits wait while the gate is closed.
class GatedStore final : public db::Store {
 public:
  explicit GatedStore(FakeStore& store) : store_(store) {}
  Result<db::Contents> Load() override { return store_.Load(); }
  Status Append(const db::Batch& batch) override {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
    return store_.Append(batch);
  }
  Status Verify() override { return store_.Verify(); }
  Result<std::vector<db::AuditRecord>> ReadAudit(size_t limit) override { return store_.ReadAudit(limit); }
  uint64_t epoch() const override { return store_.epoch(); }
  std::string Describe() const override { return "gated"; }

  void Close() {
    std::lock_guard lock(mutex_);
    open_ = false;
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void AwaitCommit() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  FakeStore& store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int waiting_ = 0;
};

class WriterTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void Start(Writer::Options options, EventHub::Options hub = {}) {
    writer_.reset();
    store_ = std::make_unique<FakeStore>(disk_);
    gate_ = std::make_unique<GatedStore>(*store_);
    auto contents = store_->Load();
    engine_ = *Engine::Restore(*contents);
    fleet_ = std::make_unique<Fleet>();
    fleet_->Load(engine_->Hosts(), engine_->resources());
    hub_ = std::make_unique<EventHub>(*fleet_, hub);
    hub_->Load(contents->events, contents->sequence);
    writer_ = std::make_unique<Writer>(*engine_, *gate_, *hub_, options, contents->sequence + 1);
  }
  Result<Outcome> Report(uint8_t number) {
    return writer_->Execute({.at_ms = 1, .body = ReportHost{MakeHost(number)}});
  }
  Result<Outcome> Create(const Claim& claim) {
    return writer_->Execute({.at_ms = 2, .body = CreateClaim{claim, {}}});
  }
  std::future<Status> Send(const Claim& claim) {
    auto promise = std::make_shared<std::promise<Status>>();
    auto future = promise->get_future();
    writer_->Submit({.at_ms = 2, .body = CreateClaim{claim, {}}},
                    [promise](const Result<Outcome>& result) { promise->set_value(result.status()); });
    return future;
  }

  std::shared_ptr<db::FakeDisk> disk_ = std::make_shared<db::FakeDisk>();
  std::unique_ptr<FakeStore> store_;
  std::unique_ptr<GatedStore> gate_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<EventHub> hub_;
  std::unique_ptr<Writer> writer_;
};

TEST_F(WriterTest, AnswersAfterTheCommitAndShowsTheResult) {
  ASSERT_TRUE(Report(1).has_value());
  ASSERT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());

  EXPECT_EQ(disk_->claims.size(), 1U);
  EXPECT_EQ(fleet_->HostByName("host1")->claims.size(), 1U);
  EXPECT_EQ(fleet_->FindClaim("vm1")->name, "vm1");
  EXPECT_EQ(fleet_->FindClaim(FloatingClaim(1, 1, 64).consumer.ToString())->name, "vm1");
  EXPECT_EQ(fleet_->FindClaim("vm2"), nullptr);
}

// What is told of the new hosts comes before the ends at the old ones.
TEST_F(WriterTest, AnInstanceThatMovedIsFoundAtItsNewHost) {
  ASSERT_TRUE(Report(1).has_value());
  ASSERT_TRUE(Report(2).has_value());
  const Claim claim = FloatingClaim(1, 1, 64);
  Claim reservation = FloatingClaim(2, 1, 64);
  reservation.host = Id(2);
  reservation.reserved_for = claim.consumer;
  ASSERT_TRUE(Create(claim).has_value());
  ASSERT_TRUE(Create(reservation).has_value());

  ASSERT_TRUE(writer_->Execute({.at_ms = 3, .body = SwapClaims{claim.consumer, reservation.consumer, true}})
                  .has_value());

  for (const std::string& name : {claim.name, claim.consumer.ToString()}) {
    ASSERT_NE(fleet_->FindClaim(name), nullptr) << name;
    EXPECT_EQ(fleet_->FindClaim(name)->host, reservation.host);
  }
  for (const std::string& name : {reservation.name, reservation.consumer.ToString()}) {
    ASSERT_NE(fleet_->FindClaim(name), nullptr) << name;
    EXPECT_EQ(fleet_->FindClaim(name)->host, claim.host);
  }
}

TEST_F(WriterTest, WhatWaitsDuringACommitGoesInOneTransaction) {
  ASSERT_TRUE(Report(1).has_value());
  gate_->Close();
  std::vector<std::future<Status>> answers;
  answers.push_back(Send(FloatingClaim(0, 1, 1)));
  gate_->AwaitCommit();
  for (uint8_t i = 1; i < 8; ++i) answers.push_back(Send(FloatingClaim(i, 1, 1)));
  EXPECT_EQ(fleet_->HostByName("host1")->claims.size(), 0U);  // nothing is seen before it is durable

  gate_->Open();

  for (auto& answer : answers) EXPECT_EQ(answer.get(), OkStatus());
  EXPECT_EQ(disk_->appends, 3U);  // the report, the first claim, the other seven
  EXPECT_EQ(disk_->claims.size(), 8U);
}

TEST_F(WriterTest, AFailedCommitIsTakenBackAndTheNextOneTriedAnew) {
  ASSERT_TRUE(Report(1).has_value());
  store_->FailNext(FakeStore::Fault::kFull);

  EXPECT_EQ(Create(FloatingClaim(1, 8, 64)).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(fleet_->FindClaim("vm1"), nullptr);
  EXPECT_TRUE(Create(FloatingClaim(2, 8, 64)).has_value());  // takes what the first would have held
  EXPECT_EQ(hub_->sequence(), 2U);
}

TEST_F(WriterTest, AnUnknownOutcomeStopsAllWritesUntilARestartTells) {
  for (auto fault : {FakeStore::Fault::kCrashAfterCommit, FakeStore::Fault::kCrashBeforeCommit}) {
    Start({});
    ASSERT_TRUE(Report(1).has_value());
    store_->FailNext(fault);
    uint8_t number = fault == FakeStore::Fault::kCrashAfterCommit ? 1 : 2;

    EXPECT_EQ(Create(FloatingClaim(number, 1, 64)).status().code(), StatusCode::kUnknown);
    EXPECT_EQ(Create(FloatingClaim(3, 1, 64)).status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(Report(2).status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(fleet_->FindClaim("vm" + std::to_string(number)), nullptr);
  }
  Start({});
  EXPECT_NE(fleet_->FindClaim("vm1"), nullptr);              // it had become durable
  EXPECT_EQ(fleet_->FindClaim("vm2"), nullptr);              // it had not
  EXPECT_TRUE(Create(FloatingClaim(1, 1, 64)).has_value());  // the client asks again and gets the same answer
}

TEST_F(WriterTest, ASecondWriterFencesTheFirst) {
  ASSERT_TRUE(Report(1).has_value());
  FakeStore second(disk_);

  EXPECT_EQ(Create(FloatingClaim(1, 1, 64)).status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(disk_->claims.empty());
}

TEST_F(WriterTest, AFullQueueRefusesAtOnce) {
  Start({.queue_limit = 3});
  ASSERT_TRUE(Report(1).has_value());
  gate_->Close();
  std::vector<std::future<Status>> answers;
  answers.push_back(Send(FloatingClaim(0, 1, 1)));
  gate_->AwaitCommit();
  for (uint8_t i = 1; i <= 3; ++i) answers.push_back(Send(FloatingClaim(i, 1, 1)));

  EXPECT_EQ(Send(FloatingClaim(9, 1, 1)).get(),
            ResourceExhausted("3 commands wait for the store", "", "try again later"));
  gate_->Open();
  for (auto& answer : answers) EXPECT_EQ(answer.get(), OkStatus());
  EXPECT_EQ(writer_->counters().rejected.load(), 1U);
}

TEST_F(WriterTest, StopFinishesWhatWasAccepted) {
  ASSERT_TRUE(Report(1).has_value());
  auto answer = Send(FloatingClaim(1, 1, 1));

  writer_->Stop();

  EXPECT_EQ(answer.get(), OkStatus());
  EXPECT_EQ(Create(FloatingClaim(2, 1, 1)).status().code(), StatusCode::kUnavailable);
}

TEST_F(WriterTest, ASlowWatcherIsDroppedAndMayResume) {
  Start({}, {.kept = 100, .watcher_buffer = 4});
  int wakes = 0;
  auto slow = hub_->Subscribe({}, [&wakes] { ++wakes; });
  ASSERT_TRUE(slow.has_value());
  for (uint8_t i = 1; i <= 6; ++i) ASSERT_TRUE(Report(i).has_value());

  EXPECT_EQ((*slow)->Next().status().code(), StatusCode::kOutOfRange);
  hub_->Unsubscribe(*slow);
  auto again = hub_->Subscribe({.after_sequence = 2}, [] {});
  for (uint64_t sequence = 3; sequence <= 6; ++sequence) EXPECT_EQ((*(*again)->Next())->sequence, sequence);
  EXPECT_EQ(*(*again)->Next(), nullptr);
  hub_->Unsubscribe(*again);
  EXPECT_EQ(wakes, 5);  // four events, the drop; then silence
}

TEST_F(WriterTest, ReadersAndWatchersSeeOneTruthWhileManyWrite) {
  for (uint8_t i = 1; i <= 4; ++i) ASSERT_TRUE(Report(i).has_value());
  std::atomic<bool> done{false};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!done) {
      auto host = fleet_->HostByName("host1");
      EXPECT_GE(host->generation, last);
      last = host->generation;
      HostUsage fresh;
      for (const auto& claim : host->claims) AddClaim(*claim, fresh);
      EXPECT_EQ(fresh, host->usage);
      std::this_thread::yield();
    }
  });
  auto watcher = hub_->Subscribe({.after_sequence = 0, .snapshot = true, .host = {}}, [] {});
  std::vector<std::thread> clients;
  for (uint8_t c = 0; c < 4; ++c) {
    clients.emplace_back([this, c] {
      for (uint8_t i = 0; i < 25; ++i) {
        Claim claim = FloatingClaim(static_cast<uint8_t>(c * 25 + i), 1, 1, static_cast<uint8_t>(1 + i % 4));
        (void)Create(claim);
        (void)writer_->Execute({.at_ms = 3, .body = ReleaseClaim{claim.name}});
        (void)writer_->Execute({.at_ms = 4, .body = FinalizeClaim{claim.consumer}});
      }
    });
  }
  for (auto& client : clients) client.join();
  done = true;
  reader.join();
  uint64_t next = 0;
  while (true) {
    auto event = (*watcher)->Next();
    ASSERT_TRUE(event.has_value());
    if (!*event) break;
    if ((*event)->kind == EventKind::kSynced) {
      next = (*event)->sequence + 1;
    } else if (next != 0) {
      ASSERT_EQ((*event)->sequence, next++);
    }
  }
  EXPECT_EQ(next, hub_->sequence() + 1);
  EXPECT_EQ(fleet_->HostByName("host1")->usage, HostUsage{});
}

}  // namespace
}  // namespace berth::placement
