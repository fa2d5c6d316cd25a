// An agent that is killed at any moment leaves nothing that the next one does not find: no VM twice, none
// forgotten, no folder left behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/compute-agent/instances/file_placement.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

class KilledAgentTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0); }
  void TearDown() override {
    Kill();
    for (pid_t vm : Vms()) ::kill(vm, SIGKILL);
  }

  void StartAgent(const std::string& step = "") {
    std::string state = folder_.path() / "a";
    std::string placement = folder_.path() / "placement";
    agent_ = ::fork();
    if (agent_ == 0) {
      ::execl(INSTANCES_AGENT, INSTANCES_AGENT, state.c_str(), placement.c_str(), FAKE_VMM,
              step.empty() ? nullptr : step.c_str(), nullptr);
      ::_exit(127);
    }
    ASSERT_GT(agent_, 0);
  }
  void Kill() {
    if (agent_ > 0) {
      ::kill(agent_, SIGKILL);
      ::waitpid(agent_, nullptr, 0);
    }
    agent_ = -1;
  }
  // Ends by itself: killed at its step, or (false) it came to the state that `done` means before that.
  template <class Condition>
  bool AwaitKilled(Condition done) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      if (::waitpid(agent_, nullptr, WNOHANG) == agent_) {
        agent_ = -1;
        return true;
      }
      ReapOrphans();
      if (done()) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    ADD_FAILURE() << "neither killed nor done";
    return false;
  }
  // VMs that were orphaned by a killed agent and have ended are ours to reap.
  void ReapOrphans() const {
    siginfo_t info{};
    while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
      if (info.si_pid == agent_) break;
      ::waitpid(info.si_pid, nullptr, WNOHANG);
      info = {};
    }
  }
  // The processes whose command line names our state folder and an API socket.
  std::vector<pid_t> Vms() const {
    std::vector<pid_t> vms;
    std::string mark = "--api-socket=" + (folder_.path() / "a").string();
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      pid_t pid = std::atoi(entry.path().filename().c_str());
      if (pid <= 0) continue;
      Result<std::string> line = ReadFile(entry.path() / "cmdline");
      if (line.has_value() && line->find(mark) != std::string::npos) vms.push_back(pid);
    }
    return vms;
  }
  size_t Folders() const {
    std::filesystem::path instances = folder_.path() / "a" / "instances";
    if (!std::filesystem::exists(instances)) return 0;
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(instances), {}));
  }
  template <class Condition>
  bool Await(Condition condition) const {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      ReapOrphans();
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(5));  // processes and folders cannot be waited for together
    }
    return false;
  }

  fakes::TempFolder folder_;
  FilePlacement placement_{folder_.path() / "placement"};
  pid_t agent_ = -1;
};

TEST_F(KilledAgentTest, KilledAtAnyMomentOfCreateAndDeleteItConvergesWithNothingLeft) {
  constexpr unsigned kSeed = 20260101;
  constexpr int kKills = 60;
  std::mt19937 random(kSeed);
  int next_name = 0;
  for (int round = 0; round < kKills; ++round) {
    StartAgent();
    std::vector<std::string> names = placement_.Names();
    if (names.size() < 6)
      placement_.Create("vm" + std::to_string(next_name++), random() % 4 == 0 ? "fake_stubborn" : "run");
    if (names.size() >= 3) placement_.Release(names[random() % names.size()]);
    // Long enough to reach every step in some round: the agent is up after a few milliseconds.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    Kill();
    ReapOrphans();
    ASSERT_LE(Vms().size(), placement_.Names().size()) << "round " << round;
  }

  StartAgent();
  ASSERT_TRUE(Await([&] {
    size_t running = 0;
    for (const placement::Claim& claim : placement_.Claims()) {
      if (claim.phase == placement::ClaimPhase::kReleasing) return false;
      running += placement_.StatusOf(claim.name).starts_with("RUNNING") ? 1 : 0;
    }
    return running == placement_.Names().size();
  })) << "agents killed: "
      << kKills;
  EXPECT_EQ(Vms().size(), placement_.Names().size());
  EXPECT_EQ(Folders(), placement_.Names().size());

  for (const std::string& name : placement_.Names()) placement_.Release(name);
  EXPECT_TRUE(Await([&] { return placement_.Names().empty(); }));
  EXPECT_TRUE(Await([&] { return Vms().empty(); }));
  EXPECT_EQ(Folders(), 0u);
}

// Every step of creation, then every step of deletion: killed there, and finished by the next agent.
TEST_F(KilledAgentTest, KilledAtEachStepOfCreationTheNextAgentRunsExactlyOneVm) {
  int step = 0;
  for (bool killed = true; killed; ++step) {
    ASSERT_LT(step, 100);
    placement_.Create("vm", "run");
    auto running = [&] { return placement_.StatusOf("vm").starts_with("RUNNING"); };
    StartAgent(std::to_string(step));
    killed = AwaitKilled(running);
    Kill();
    StartAgent();
    ASSERT_TRUE(Await(running)) << "step " << step;
    ASSERT_EQ(Vms().size(), 1u) << "step " << step;
    ASSERT_EQ(Folders(), 1u);
    placement_.Release("vm");
    ASSERT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }));
    Kill();
  }
  EXPECT_GE(step, 8);  // the steps that there are
}

TEST_F(KilledAgentTest, KilledAtEachStepOfDeletionNothingIsLeft) {
  int step = 0;
  for (bool killed = true; killed; ++step) {
    ASSERT_LT(step, 200);
    placement_.Create("vm", "run");
    StartAgent();
    ASSERT_TRUE(Await([&] { return placement_.StatusOf("vm").starts_with("RUNNING"); }));
    Kill();
    placement_.Release("vm");
    StartAgent(std::to_string(step));
    killed = AwaitKilled([&] { return placement_.Names().empty(); });
    Kill();
    StartAgent();
    ASSERT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }))
        << "step " << step;
    Kill();
  }
  EXPECT_GE(step, 5);
}

// BERTH_LONG_TESTS=1: 200 instances and ten kills.
TEST_F(KilledAgentTest, ManyInstancesWithTheAgentKilledAgainAndAgainAreNeitherDoubledNorLeaked) {
  bool full = std::getenv("BERTH_LONG_TESTS") != nullptr;
  size_t instances = full ? 200 : 24;
  int kills = full ? 10 : 4;
  std::mt19937 random(20260102);
  auto run_killed = [&] {
    for (int kill = 0; kill < kills; ++kill) {
      StartAgent();
      std::this_thread::sleep_for(milliseconds(5 + random() % (full ? 400 : 60)));
      Kill();
      ReapOrphans();
      ASSERT_LE(Vms().size(), placement_.Names().size());
    }
    StartAgent();
  };
  for (size_t i = 0; i < instances; ++i) placement_.Create("vm" + std::to_string(i), "run");

  run_killed();
  ASSERT_TRUE(Await([&] {
    size_t running = 0;
    for (const std::string& name : placement_.Names()) {
      running += placement_.StatusOf(name).starts_with("RUNNING") ? 1 : 0;
    }
    return running == instances;
  }));
  EXPECT_EQ(Vms().size(), instances);
  EXPECT_EQ(Folders(), instances);
  Kill();

  for (const std::string& name : placement_.Names()) placement_.Release(name);
  run_killed();
  EXPECT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }));
}

TEST_F(KilledAgentTest, AVmKeepsItsProcessOverTenKills) {
  placement_.Create("vm", "run");
  StartAgent();
  ASSERT_TRUE(Await([&] { return placement_.StatusOf("vm").starts_with("RUNNING"); }));
  std::vector<pid_t> before = Vms();
  ASSERT_EQ(before.size(), 1u);
  for (int kill = 0; kill < 10; ++kill) {
    Kill();
    StartAgent();
  }
  EXPECT_EQ(Vms(), before);
}

TEST_F(KilledAgentTest, HowAnAdoptedVmEndsIsKnownWhereTheKernelTells) {
  placement_.Create("vm", "run");
  StartAgent();
  ASSERT_TRUE(Await([&] { return placement_.StatusOf("vm").starts_with("RUNNING"); }));
  Kill();
  StartAgent();
  std::filesystem::remove(folder_.path() / "placement" / "status" / "vm");
  ASSERT_TRUE(Await([&] { return placement_.StatusOf("vm").starts_with("RUNNING"); }));
  ASSERT_EQ(Vms().size(), 1u);

  ::kill(Vms()[0], SIGKILL);

  ASSERT_TRUE(Await([&] { return !placement_.StatusOf("vm").starts_with("RUNNING"); }));
  std::string status = placement_.StatusOf("vm");
  EXPECT_TRUE(status == "FAILED the VMM was ended by signal 9 (Killed)" ||
              status == "STOPPED ended, its exit status is unknown")
      << status;
}

}  // namespace
}  // namespace berth::agent
