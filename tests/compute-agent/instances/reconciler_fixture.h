#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <set>

#include "compute-agent/instances/reconciler.h"
#include "tests/compute-agent/instances/claims.h"
#include "tests/fakes/temp_folder.h"

// A reconciler with fake VMMs and a placement that remembers what it is told.
namespace berth::agent {

using placement::Claim;
using placement::ClaimPhase;
using placement::InstanceState;
using placement::InstanceStatus;

inline constexpr uint64_t kMi = uint64_t{1} << 20;
inline constexpr std::chrono::seconds kPatience{30};  // only spent when a test fails

// Remembers what the reconciler reports; can be made unreachable.
class FakePlacement : public ClaimReporter {
 public:
  Status ReportStatus(const Uuid& consumer, const InstanceStatus& status) override {
    if (on_report) on_report(consumer, status);
    std::lock_guard lock(mutex_);
    if (unreachable_) return Unreachable();
    if (refused_ == consumer) {
      ++refusals_;
      changed_.notify_all();
      return {StatusCode::kInvalidArgument, "this status is refused"};
    }
    states_[consumer] = status;
    changed_.notify_all();
    return OkStatus();
  }
  // Claims are their consumers' text, and cannot be had unless a test says what becomes of them.
  std::string EncodeClaim(const Claim& claim) const override {
    return on_restore ? claim.consumer.ToString() : std::string();
  }
  Status RestoreClaim(const std::string& encoded) override {
    return on_restore ? on_restore(encoded) : Unimplemented("this one keeps no claims");
  }
  Status DropDevice(const Uuid&, const PciAddress& device) override {
    std::lock_guard lock(mutex_);
    dropped_.insert(device);
    changed_.notify_all();
    return OkStatus();
  }
  Status FinalizeClaim(const Uuid& consumer) override {
    std::lock_guard lock(mutex_);
    if (unreachable_) return Unreachable();
    finalized_.insert(consumer);
    changed_.notify_all();
    return OkStatus();
  }

  bool AwaitState(const Uuid& consumer, InstanceState state) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return states_[consumer].state == state; });
  }
  bool AwaitFinalized(const Uuid& consumer) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return finalized_.contains(consumer); });
  }
  bool AwaitDropped(const PciAddress& device) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return dropped_.contains(device); });
  }
  bool IsDropped(const PciAddress& device) {
    std::lock_guard lock(mutex_);
    return dropped_.contains(device);
  }
  bool AwaitDetail(const Uuid& consumer, const std::string& part) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience,
                             [&] { return states_[consumer].detail.find(part) != std::string::npos; });
  }
  bool IsFinalized(const Uuid& consumer) {
    std::lock_guard lock(mutex_);
    return finalized_.contains(consumer);
  }
  bool AwaitRefusal() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return refusals_ > 0; });
  }
  void Forget(const Uuid& consumer) {
    std::lock_guard lock(mutex_);
    states_.erase(consumer);
  }
  std::string Detail(const Uuid& consumer) {
    std::lock_guard lock(mutex_);
    return states_[consumer].detail;
  }
  void SetUnreachable(bool unreachable) {
    std::lock_guard lock(mutex_);
    unreachable_ = unreachable;
  }

  void Refuse(const Uuid& consumer) {
    std::lock_guard lock(mutex_);
    refused_ = consumer;
  }

  // Called first in each report, on the reconciler's thread. Set before the reconciler is opened.
  std::function<void(const Uuid&, const InstanceStatus&)> on_report;
  // Likewise, of a claim that placement has lost.
  std::function<Status(const std::string&)> on_restore;

 private:
  Status Unreachable() {
    ++refusals_;
    changed_.notify_all();
    return {StatusCode::kUnavailable, "placement is unreachable"};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Uuid, InstanceStatus> states_;
  std::set<Uuid> finalized_;
  std::set<PciAddress> dropped_;
  bool unreachable_ = false;
  Uuid refused_;
  int refusals_ = 0;
};

class ReconcilerTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.state_dir = folder_.path() / "agent";
    options_.vmm_path = FAKE_VMM;
    options_.root = folder_.path();
    options_.shutdown_timeout = std::chrono::milliseconds(200);
    options_.terminate_timeout = std::chrono::milliseconds(200);
  }
  void TearDown() override {
    // Tests that leave a VM running end it here.
    for (const Claim& claim : started_) {
      if (reconciler_ == nullptr) Open();
      reconciler_->PutClaim(Releasing(claim));
      EXPECT_TRUE(placement_.AwaitFinalized(claim.consumer)) << claim.name;
      EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
    }
  }

  void Open() {
    auto reconciler = Reconciler::Open(options_, placement_, consoles_);
    ASSERT_TRUE(reconciler.has_value()) << reconciler.error().ToString();
    reconciler_ = *std::move(reconciler);
    reconciler_->SetHost(TestHost(), {});
    reconciler_->Start();
    reconciler_->ReplaceClaims(started_);
  }
  void Put(Claim claim) {
    if (reconciler_ == nullptr) Open();
    started_.push_back(claim);
    reconciler_->PutClaim(std::move(claim));
  }
  static Claim Releasing(Claim claim) {
    claim.phase = ClaimPhase::kReleasing;
    return claim;
  }
  static Claim With(std::string words) {
    Claim claim = TestClaim("vm", 1, 2 * kMi);
    claim.spec.cmdline = std::move(words);
    return claim;
  }
  std::filesystem::path FolderOf(const Claim& claim) const {
    return std::filesystem::path(options_.state_dir) / "instances" / claim.consumer.ToString();
  }
  // Before Open: a record of the instance that is none.
  void DamageRecord(const Claim& claim) const {
    const std::string path = options_.state_dir + "/agent.db";
    InstanceRecord record;
    record.consumer = claim.consumer;
    ASSERT_EQ((*RecordStore::Open(path))->Save(record), OkStatus());
    ASSERT_EQ((*db::Connection::Open(path))->Execute("UPDATE instance_records SET record = '{\"format\": 1'"),
              OkStatus());
  }
  pid_t PidOf(const Claim& claim) const {
    auto runtime = reconciler_->Runtime(claim.consumer);
    return runtime.has_value() ? runtime->pid : -1;
  }

  fakes::TempFolder folder_;
  ReconcilerOptions options_;
  FakePlacement placement_;
  ConsoleHub consoles_;
  std::unique_ptr<Reconciler> reconciler_;
  std::vector<Claim> started_;
};

}  // namespace berth::agent
