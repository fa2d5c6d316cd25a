#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "tests/compute-agent/instances/reconciler_fixture.h"

namespace berth::agent {
namespace {

TEST_F(ReconcilerTest, AnActiveClaimRunsAndAReleasedOneLeavesNothing) {
  Claim claim = With("");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);
  EXPECT_GT(pid, 0);
  EXPECT_EQ(::getsid(pid), pid);

  reconciler_->PutClaim(Releasing(claim));

  EXPECT_TRUE(placement_.AwaitFinalized(claim.consumer));
  EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(ReconcilerTest, ThePlacementOfARunningInstanceIsProven) {
  Claim claim = TestClaim("vm", 1, 8 * kMi);
  claim.cells = {TestBinding(0, 0, "0", 8 * kMi)};
  claim.cells[0].pinning = {{0, 0}};  // CPU 0 and node 0 exist everywhere
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);

  auto runtime = reconciler_->Runtime(claim.consumer);

  ASSERT_TRUE(runtime.has_value()) << runtime.error().ToString();
  ASSERT_EQ(runtime->placement.vcpus.size(), 1u);
  EXPECT_EQ(runtime->placement.vcpus[0].cpus_allowed.ToString(), "0");
  EXPECT_EQ(runtime->placement.guest_memory, (std::map<placement::NumaNode, uint64_t>{{0, 8 * kMi}}));
  EXPECT_TRUE(runtime->violations.empty());
}

TEST_F(ReconcilerTest, AGuestThatPowersOffIsStopped) {
  Claim claim = With("fake_power_off");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(placement_.Detail(claim.consumer), "the guest powered off");
}

TEST_F(ReconcilerTest, AVmmThatFailsAtOnceShowsItsOwnErrorText) {
  Claim claim = With("fake_exit=3");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(
      placement_.Detail(claim.consumer),
      "the VMM exited with status 3: fake_vmm: first line of trouble\nfake_vmm: second line of trouble");
}

TEST_F(ReconcilerTest, AKernelThatDoesNotExistFailsWithItsPath) {
  Claim claim = With("");
  claim.spec.kernel = "/no/such/vmlinuz";
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(claim.consumer),
            "the VMM exited with status 1: fake_vmm: kernel /no/such/vmlinuz: No such file or directory");
}

TEST_F(ReconcilerTest, AnOptionThatTheVmmRefusesIsShown) {
  Claim claim = With("");
  claim.spec.disks = {"pth=/x"};
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_NE(placement_.Detail(claim.consumer).find("disk[0]"), std::string::npos)
      << placement_.Detail(claim.consumer);
}

TEST_F(ReconcilerTest, AVmmProgramThatIsMissingFailsWithItsPath) {
  options_.vmm_path = "/no/such/berth-vmm";
  Claim claim = With("");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(claim.consumer), "exec /no/such/berth-vmm: No such file or directory");
}

TEST_F(ReconcilerTest, ACrashIsReportedWithItsSignal) {
  Claim claim = With("fake_crash");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(claim.consumer), "the VMM was ended by signal 6 (Aborted)");
}

TEST_F(ReconcilerTest, ARunningVmmThatIsKilledIsReportedAndNotStartedAgain) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));

  ::kill(PidOf(claim), SIGKILL);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(claim.consumer), "the VMM was ended by signal 9 (Killed)");
  EXPECT_EQ(PidOf(claim), 0);
}

TEST_F(ReconcilerTest, WhatRuntimeShowsIsNeverOlderThanWhatWasReported) {
  Claim claim = With("fake_die=3");
  std::map<InstanceState, pid_t> seen;
  placement_.on_report = [&](const Uuid&, const InstanceStatus& status) {
    seen[status.state] = PidOf(claim);
  };
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));

  reconciler_.reset();  // ends its thread: `seen` is ours
  placement_.on_report = nullptr;
  EXPECT_GT(seen.at(InstanceState::kBuilding), 0);
  EXPECT_EQ(seen.at(InstanceState::kFailed), 0);
}

TEST_F(ReconcilerTest, AVmmThatNeverAnswersIsEndedAtTheTimeout) {
  options_.start_timeout = std::chrono::milliseconds(1000);
  Claim claim = With("fake_no_api");
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(claim.consumer), "the VMM did not answer on its API socket within 1 s");
}

TEST_F(ReconcilerTest, AGuestThatIgnoresThePowerButtonIsTerminatedAndADeafOneKilled) {
  for (const char* words : {"fake_stubborn", "fake_deaf"}) {
    Claim claim = TestClaim(words, 1, 2 * kMi);
    claim.spec.cmdline = words;
    Put(claim);
    EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  }
  // TearDown releases both and expects nothing left.
}

TEST_F(ReconcilerTest, AVmSurvivesTheAgentAndIsAdoptedByTheNextOne) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);

  reconciler_.reset();
  EXPECT_EQ(::kill(pid, 0), 0);
  Open();

  EXPECT_EQ(PidOf(claim), pid);
}

TEST_F(ReconcilerTest, AVmThatEndsWhileNoAgentWatchesIsNotStartedAgain) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);
  reconciler_.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);

  Open();

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(placement_.Detail(claim.consumer), "ended while no agent watched it, its exit status is unknown");
}

TEST_F(ReconcilerTest, AfterAHostRebootTheInstanceIsStartedAgain) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);
  reconciler_.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  auto records = *RecordStore::Open(options_.state_dir + "/agent.db");
  auto record = records->Load(claim.consumer);
  ASSERT_TRUE(record.has_value());
  record->process.boot_id = "another boot";
  ASSERT_EQ(records->Save(*record), OkStatus());

  placement_.Forget(claim.consumer);

  Open();

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_NE(PidOf(claim), pid);
}

TEST_F(ReconcilerTest, WhilePlacementIsUnreachableTheVmKeepsRunningAndTheReportIsRepeated) {
  Claim claim = With("");
  Open();
  placement_.SetUnreachable(true);
  Put(claim);
  ASSERT_TRUE(placement_.AwaitRefusal());

  placement_.SetUnreachable(false);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
}

TEST_F(ReconcilerTest, ARunningVmWithoutAClaimIsLeftAlone) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);

  reconciler_->ReplaceClaims({});
  Claim marker = TestClaim("marker", 1, 2 * kMi);
  Put(marker);
  ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));

  EXPECT_EQ(PidOf(claim), pid);
}

TEST_F(ReconcilerTest, ByPolicyARunningVmWithoutAClaimIsStoppedAfterAWhile) {
  options_.unclaimed = Unclaimed::kStop;
  options_.unclaimed_grace = std::chrono::milliseconds(0);
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  started_.clear();

  reconciler_->ReplaceClaims({});

  auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::filesystem::exists(FolderOf(claim)) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // nobody is told of it
  }
  EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
}

TEST_F(ReconcilerTest, ByPolicyAVmThatFailsIsStartedAgainUntilTheLimit) {
  options_.policy.restart = Restart::kOnFailure;
  options_.policy.restart_limit = 2;
  options_.policy.restart_pause = std::chrono::milliseconds(1);
  std::atomic<int> restarts = 0;
  placement_.on_report = [&](const Uuid&, const InstanceStatus& status) {
    if (status.detail.starts_with("restart ")) ++restarts;
  };
  Claim claim = With("fake_die=3");
  Put(claim);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(restarts, 2);
  EXPECT_TRUE(placement_.Detail(claim.consumer).starts_with("the VMM exited with status 3"));
}

TEST_F(ReconcilerTest, ARestartedVmIsANewProcessOfTheSameInstanceAndPoweringOffIsNoFailure) {
  options_.policy.restart = Restart::kOnFailure;
  options_.policy.restart_pause = std::chrono::milliseconds(1);
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t first = PidOf(claim);

  placement_.Forget(claim.consumer);
  ::kill(first, SIGKILL);

  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_GT(PidOf(claim), 0);
  EXPECT_NE(PidOf(claim), first);
  Claim off = TestClaim("off", 1, 2 * kMi);
  off.spec.cmdline = "fake_power_off";
  Put(off);
  EXPECT_TRUE(placement_.AwaitState(off.consumer, InstanceState::kStopped));
}

TEST_F(ReconcilerTest, AStatusThatIsRefusedDoesNotHoldBackTheOthers) {
  Claim refused = TestClaim("refused", 1, 2 * kMi);
  Claim other = TestClaim("other", 1, 2 * kMi);
  if (other.consumer < refused.consumer) std::swap(refused, other);
  placement_.Refuse(refused.consumer);
  Put(refused);
  ASSERT_TRUE(placement_.AwaitRefusal());
  Put(other);

  EXPECT_TRUE(placement_.AwaitState(other.consumer, InstanceState::kRunning));

  placement_.Refuse(Uuid());
  EXPECT_TRUE(placement_.AwaitState(refused.consumer, InstanceState::kRunning));
}

TEST_F(ReconcilerTest, AConfidentialInstanceNeverRunsOnAVmmThatMakesNone) {
  Claim claim = TestClaim("vm", 1, 2 * kMi);
  claim.cells = {TestBinding(0, 0, "0", 2 * kMi)};
  claim.cells[0].secure = true;
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(
      placement_.Detail(claim.consumer),
      "the instance must be confidential, this host's VMM makes no confidential guests: it was not started");
}

TEST_F(ReconcilerTest, AVmmThatTheOomKillerEndsIsReportedWithARecommendation) {
  std::filesystem::create_directories(folder_.path() / "dev");
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  pid_t pid = PidOf(claim);
  std::ofstream(folder_.path() / "dev" / "kmsg")
      << "3,1,2,-;Out of memory: Killed process " << pid << " (berth-vmm) total-vm:1kB\n";

  ::kill(pid, SIGKILL);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(
      placement_.Detail(claim.consumer),
      "the VMM was ended by signal 9 (Killed): the host was out of memory; keep at least 256 MiB more of its "
      "ordinary memory free (reserved_memory, confidential.nonsecure_headroom)");
}

TEST(ConsoleWatch, FindsSwiotlbBufferIsFullHoweverItIsCut) {
  ConsoleWatch watch;
  std::string line =
      "[  9.1] virtio 0: swiotlb buffer is full (sz: 4096 bytes), total 262144 (slots), used 262140 "
      "(slots)\r\n";
  for (char c : line) watch.Feed(std::string(1, c));
  EXPECT_EQ(watch.TakeSwiotlbFull(), 262144u);
  EXPECT_EQ(watch.TakeSwiotlbFull(), std::nullopt);
  watch.Feed(std::string(100'000, 'x') + "swiotlb buffer is full\n");  // beyond what is kept of a line
  EXPECT_EQ(watch.TakeSwiotlbFull(), std::nullopt);
  watch.Feed("swiotlb buffer is full, total 99999999999999999999\n");
  EXPECT_EQ(watch.TakeSwiotlbFull(), 0u);
  watch.Feed("swiotlb buffer is full");
  EXPECT_EQ(watch.TakeSwiotlbFull(), std::nullopt);  // the line is not complete
}

TEST_F(ReconcilerTest, LeftoversWithoutProcessAndClaimAreCleanedUp) {
  Claim claim = With("");
  std::filesystem::create_directories(FolderOf(claim));
  Claim marker = TestClaim("marker", 1, 2 * kMi);
  Put(marker);
  ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));
  EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
}

TEST_F(ReconcilerTest, AnUnreadableRecordIsShownAndNeverActedUpon) {
  Claim claim = With("");
  std::filesystem::create_directories(FolderOf(claim));
  DamageRecord(claim);
  Open();
  reconciler_->PutClaim(claim);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));

  EXPECT_NE(placement_.Detail(claim.consumer).find("check by hand"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(FolderOf(claim)));
}

TEST_F(ReconcilerTest, WithoutItsRecordAVmThatRunsIsNotStartedASecondTime) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  const pid_t pid = PidOf(claim);
  reconciler_.reset();
  for (const char* end : {"", "-wal", "-shm"}) {
    std::filesystem::remove(options_.state_dir + "/agent.db" + end);
  }

  Open();

  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_EQ(
      placement_.Detail(claim.consumer),
      "its VMM runs as process " + std::to_string(pid) +
          ", but the agent has no record of it and leaves it alone: shut the guest down, then start the "
          "agent again");
  EXPECT_EQ(*FindByArgument("--api-socket=" + (FolderOf(claim) / "api.sock").string()), pid);
  EXPECT_EQ(VmmClient(FolderOf(claim) / "api.sock").Ping(), OkStatus());

  // Once it has ended, it starts as it is claimed.
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  reconciler_.reset();
  Open();
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
}

TEST_F(ReconcilerTest, AnInstanceWithAnUnreadableRecordCanBeDeletedOnceItsFolderIsRemoved) {
  Claim claim = With("");
  std::filesystem::create_directories(FolderOf(claim));
  DamageRecord(claim);
  Open();
  reconciler_->PutClaim(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));

  std::filesystem::remove_all(FolderOf(claim));
  reconciler_->PutClaim(Releasing(claim));

  EXPECT_TRUE(placement_.AwaitFinalized(claim.consumer));
}

TEST_F(ReconcilerTest, OneAgentAtATimeUsesAStateFolder) {
  Open();
  auto second = Reconciler::Open(options_, placement_, consoles_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().message(), "another agent uses " + options_.state_dir);
}

TEST_F(ReconcilerTest, AStateFolderTooLongForSocketsIsRefused) {
  options_.state_dir = "/tmp/" + std::string(60, 'x');
  auto reconciler = Reconciler::Open(options_, placement_, consoles_);
  ASSERT_FALSE(reconciler.has_value());
  EXPECT_NE(reconciler.error().message().find("has 65 characters, at most 48 are allowed"), std::string::npos)
      << reconciler.error().message();
}

// What a client of a console sees.
class Listener : public ConsoleListener {
 public:
  void OnOutput(std::string_view data) override {
    std::lock_guard lock(mutex_);
    text_ += data;
    changed_.notify_all();
  }
  void OnEnd() override {
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  bool Await(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return text_.find(text) != std::string::npos; });
  }
  bool AwaitEnd() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return ended_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  bool ended_ = false;
};

TEST_F(ReconcilerTest, TheConsoleShowsThePastTakesInputAndEndsWithTheVm) {
  Claim claim = With("");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  auto listener = std::make_shared<Listener>();
  ASSERT_TRUE(consoles_.Subscribe(claim.consumer, listener).has_value());
  EXPECT_TRUE(listener->Await("fake guest login: "));

  EXPECT_EQ(consoles_.Write(claim.consumer, "root\n"), OkStatus());

  EXPECT_TRUE(listener->Await("ROOT\n"));
  ::kill(PidOf(claim), SIGKILL);
  EXPECT_TRUE(listener->AwaitEnd());
  auto late = std::make_shared<Listener>();
  ASSERT_TRUE(consoles_.Subscribe(claim.consumer, late).has_value());
  EXPECT_TRUE(late->Await("fake guest login: ROOT\n"));
  EXPECT_EQ(ReadFile(FolderOf(claim) / "console.log").value_or(""), "fake guest login: ROOT\n");
}

}  // namespace
}  // namespace berth::agent
