#include <gtest/gtest.h>

#include <map>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "tests/placement/model/random_claims.h"

// The engine against a model that only knows which claims there are, over long random histories with
// rollbacks: nothing is ever held twice, generations only grow, and the same commands give the same bytes.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint32_t kHistories = 12;
constexpr uint32_t kCommands = 5500;  // 66,000 in all
constexpr uint8_t kHosts = 4;
constexpr uint8_t kConsumers = 60;

class History {
 public:
  explicit History(uint32_t seed) : random_(seed), engine_(*Engine::Restore({})) {}

  void Run() {
    for (uint32_t step = 0; step < kCommands; ++step) {
      Command command{.at_ms = 1000 + step, .body = {}};
      command.body = RandomBody();
      draft_.push_back(command);
      Result<Outcome> outcome = engine_->Apply(command);
      Follow(command, outcome);
      if (HasFatalFailure()) return;
      if (Pick(random_, 4) == 0) EndBatch();
      if (step % 200 == 0) CheckAll();
      if (::testing::Test::HasFatalFailure()) return;
    }
    EndBatch();
    CheckAll();
    CheckReplay();
  }
  uint32_t accepted() const { return accepted_; }
  uint32_t rolled_back() const { return rolled_back_; }

 private:
  struct Known {
    Uuid host;
    ClaimPhase phase = ClaimPhase::kActive;
  };
  static bool HasFatalFailure() { return ::testing::Test::HasFatalFailure(); }

  decltype(Command::body) RandomBody() {
    auto host = static_cast<uint8_t>(1 + Pick(random_, kHosts));
    auto number = static_cast<uint8_t>(Pick(random_, kConsumers));
    Uuid consumer = FloatingClaim(number, 1, 1).consumer;
    switch (Pick(random_, 16)) {
      case 0:
      case 1: {
        HostReport report = RandomHost(random_);
        report.uuid = Id(host);
        report.name = Pick(random_, 10) == 0 ? "host1" : "host" + std::to_string(host);
        if (Pick(random_, 3) == 0) Shrink(report);
        return ReportHost{std::move(report)};
      }
      case 2:
        return DeleteHost{Id(host)};
      case 3:
      case 4:
        return ReleaseClaim{Pick(random_, 2) == 0 ? consumer.ToString() : "vm" + std::to_string(number)};
      case 5:
      case 6:
        return FinalizeClaim{consumer};
      case 7:
        return ReportStatus{
            consumer,
            {.state = static_cast<InstanceState>(Pick(random_, 6)), .detail = "", .observed_at_ms = 9}};
      default: {
        Claim claim = RandomClaim(random_, number);
        claim.host = Id(host);
        CreateClaim create{.claim = std::move(claim), .expected_generation = {}};
        if (Pick(random_, 20) == 0) create.expected_generation = Pick(random_, 50);
        return create;
      }
    }
  }

  // What breaks in the field: a cell, a device, CPUs or pages are gone.
  void Shrink(HostReport& report) {
    switch (Pick(random_, 4)) {
      case 0:
        report.cells.erase(report.cells.begin() + Pick(random_, 2));
        break;
      case 1:
        report.devices.resize(Pick(random_, 3));
        break;
      case 2:
        report.cells[0].dedicated_cpus = {};
        break;
      default:
        report.cells[1].pages.resize(1);
        report.cells[1].secure_memory_bytes = 0;
        break;
    }
  }

  void Follow(const Command& command, const Result<Outcome>& outcome) {
    if (!outcome) return;
    ++accepted_;
    if (const auto* create = std::get_if<CreateClaim>(&command.body)) {
      known_[create->claim.consumer] = {.host = create->claim.host, .phase = ClaimPhase::kActive};
    }
    if (std::get_if<ReleaseClaim>(&command.body) != nullptr) {
      ASSERT_TRUE(known_.contains(outcome->claim->consumer));
      known_[outcome->claim->consumer].phase = ClaimPhase::kReleasing;
    }
    if (const auto* done = std::get_if<FinalizeClaim>(&command.body)) {
      auto claim = known_.find(done->consumer);
      ASSERT_TRUE(claim == known_.end() || claim->second.phase == ClaimPhase::kReleasing);
      known_.erase(done->consumer);
    }
    if (const auto* gone = std::get_if<DeleteHost>(&command.body)) {
      for (const auto& [consumer, claim] : known_) ASSERT_NE(claim.host, gone->host);
    }
  }

  void EndBatch() {
    if (Pick(random_, 8) == 0) {
      engine_->Rollback();
      known_ = durable_;
      ++rolled_back_;
    } else {
      auto committed = engine_->Commit();
      events_.insert(events_.end(), committed.events.begin(), committed.events.end());
      durable_ = known_;
      log_.insert(log_.end(), draft_.begin(), draft_.end());
    }
    draft_.clear();
  }

  void CheckAll() {
    size_t claims = 0;
    for (const auto& host : engine_->Hosts()) {
      ASSERT_EQ(ValidateReport(*host->report), OkStatus());
      claims += host->claims.size();
      CheckHost(*host);
      if (::testing::Test::HasFatalFailure()) return;
      uint64_t& generation = generations_[host->uuid()];
      if (draft_.empty()) {  // a draft may be taken back
        ASSERT_GE(host->generation, generation);
        generation = host->generation;
      }
    }
    ASSERT_EQ(claims, known_.size());
  }

  void CheckHost(const HostVersion& host) {
    HostUsage fresh;
    std::map<uint32_t, int> cpus;
    std::map<PciAddress, int> devices;
    for (const auto& claim : host.claims) {
      ASSERT_TRUE(known_.contains(claim->consumer));
      ASSERT_EQ(known_[claim->consumer].host, host.uuid());
      ASSERT_EQ(known_[claim->consumer].phase, claim->phase);
      AddClaim(*claim, fresh);
      for (const DeviceBinding& device : claim->devices) ASSERT_EQ(++devices[device.address], 1);
      for (const CellBinding& cell : claim->cells) {
        for (const auto& pin : cell.pinning) ASSERT_EQ(++cpus[pin.second], 1);
        for (uint32_t cpu : cell.reserved.ToVector()) ASSERT_EQ(++cpus[cpu], 1);
      }
    }
    ASSERT_EQ(fresh, host.usage);
    for (const Device& device : host.report->devices) {
      bool both = device.parent && devices.contains(device.address) && devices.contains(*device.parent);
      ASSERT_FALSE(both) << device.address.ToString();
    }
    for (const auto& [address, count] : devices) {
      bool there = false;
      for (const Device& device : host.report->devices) there = there || device.address == address;
      ASSERT_TRUE(there) << address.ToString();
    }
    for (const auto& [id, used] : fresh.cells) CheckCell(*host.report, id, used);
  }

  static void CheckCell(const HostReport& report, NumaNode id, const CellUsage& used) {
    const Cell* cell = nullptr;
    for (const Cell& c : report.cells) cell = c.id == id ? &c : cell;
    ASSERT_NE(cell, nullptr) << "cell " << id << " is in use and gone";
    ASSERT_TRUE(cell->dedicated_cpus.Contains(used.pinned_cpus));
    ASSERT_LE(used.secure_memory_bytes, cell->secure_memory_bytes);
    for (const auto& [size, count] : used.used_pages) {
      bool fits = false;
      for (const PagePool& pool : cell->pages)
        fits = fits || (pool.size_bytes == size && count <= pool.total - pool.reserved);
      ASSERT_TRUE(fits) << count << " pages of " << size;
    }
  }

  db::Contents State(const Engine& engine, const std::vector<std::shared_ptr<const Event>>& events) const {
    db::Contents contents = engine.Export();
    contents.events = events;
    return contents;
  }

  // The committed commands anew, in one batch each; then a restart from the state.
  void CheckReplay() {
    auto again = *Engine::Restore({});
    std::vector<std::shared_ptr<const Event>> events;
    for (const Command& command : log_) {
      (void)again->Apply(command);
      auto committed = again->Commit();
      events.insert(events.end(), committed.events.begin(), committed.events.end());
    }
    std::string expected = db::EncodeContents(State(*engine_, events_));
    ASSERT_EQ(db::EncodeContents(State(*again, events)), expected);
    auto restored = Engine::Restore(engine_->Export());
    ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
    ASSERT_EQ(db::EncodeContents(State(**restored, events_)), expected);
  }

  Random random_;
  std::unique_ptr<Engine> engine_;
  std::map<Uuid, Known> known_;
  std::map<Uuid, Known> durable_;
  std::map<Uuid, uint64_t> generations_;
  std::vector<Command> draft_;
  std::vector<Command> log_;
  std::vector<std::shared_ptr<const Event>> events_;
  uint32_t accepted_ = 0;
  uint32_t rolled_back_ = 0;
};

TEST(EngineProperty, HoldsItsInvariantsAndReplaysToTheSameBytes) {
  uint32_t accepted = 0;
  uint32_t rolled_back = 0;
  for (uint32_t seed = 1; seed <= kHistories; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed);
    history.Run();
    if (HasFatalFailure()) return;
    accepted += history.accepted();
    rolled_back += history.rolled_back();
  }
  EXPECT_GT(accepted, 12000U);
  EXPECT_GT(rolled_back, 600U);
}

}  // namespace
}  // namespace berth::placement
