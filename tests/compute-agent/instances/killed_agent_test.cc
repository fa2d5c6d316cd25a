// An agent that is killed at any moment leaves nothing that the next one does not find: no VM twice, none
// forgotten, no folder left behind.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>

#include "tests/compute-agent/instances/killed_agent_fixture.h"

namespace berth::agent {
namespace {

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

// Every step of a stop, then every step of the start after it.
TEST_F(KilledAgentTest, KilledAtEachStepOfAStopAndOfAStartTheNextAgentFinishesIt) {
  placement_.Create("vm", "run");
  for (const char* action : {"stop", "start", "pause"}) {
    const std::string reached = action == std::string("stop")    ? "STOPPED stopped on request"
                                : action == std::string("pause") ? "PAUSED"
                                                                 : "RUNNING";
    const std::string other = action == std::string("stop") ? "start" : "stop";
    const size_t vms = action == std::string("stop") ? 0 : 1;
    int step = 0;
    for (bool killed = true; killed; ++step) {
      ASSERT_LT(step, 100);
      StartAgent();
      placement_.Ask("vm", action == std::string("pause") ? "start" : other);
      ASSERT_TRUE(Await([&] {
        return !placement_.Asked("vm") &&
               placement_.StatusOf("vm").starts_with(
                   other == "stop" && action != std::string("pause") ? "STOPPED" : "RUNNING");
      })) << action
          << " step " << step << ": " << placement_.StatusOf("vm");
      Kill();
      placement_.Ask("vm", action);
      auto done = [&] { return !placement_.Asked("vm") && placement_.StatusOf("vm").starts_with(reached); };
      StartAgent(std::to_string(step));
      killed = AwaitKilled(done);
      Kill();
      StartAgent();
      ASSERT_TRUE(Await(done)) << action << " step " << step << ": " << placement_.StatusOf("vm");
      ASSERT_TRUE(Await([&] { return Vms().size() == vms; })) << action << " step " << step;
      ASSERT_EQ(Folders(), 1u);
      Kill();
    }
    EXPECT_GE(step, 2) << action;
  }
  placement_.Release("vm");
  StartAgent();
  EXPECT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }));
}

TEST_F(KilledAgentTest, KilledAtEachStepOfARebootTheNextAgentRunsExactlyOneOtherVm) {
  placement_.Create("vm", "run");
  StartAgent();
  auto running = [&] { return placement_.StatusOf("vm").starts_with("RUNNING") && Vms().size() == 1; };
  ASSERT_TRUE(Await(running));
  Kill();
  int step = 0;
  for (bool killed = true; killed; ++step) {
    ASSERT_LT(step, 100);
    const std::vector<pid_t> before = Vms();
    ASSERT_EQ(before.size(), 1u) << "step " << step;
    placement_.Ask("vm", "reboot");
    auto done = [&] {
      return !placement_.Asked("vm") && running() && Vms() != before && !RecordOfVm().reboot &&
             RecordOfVm().phase == Phase::kRunning;
    };
    StartAgent(std::to_string(step));
    killed = AwaitKilledOrSettled(done);
    Kill();
    StartAgent();
    ASSERT_TRUE(Await(done)) << "step " << step << ": " << placement_.StatusOf("vm");
    ASSERT_EQ(Folders(), 1u);
    Kill();
  }
  EXPECT_GE(step, 6);
  placement_.Release("vm");
  StartAgent();
  EXPECT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }));
}

TEST_F(KilledAgentTest, KilledAtEachStepOfADisksComingAndLeavingTheSameVmHasItOrHasItNot) {
  const std::string path = folder_.path() / "data.raw";
  std::ofstream(path) << "disk";
  placement_.Create("vm", "run");
  StartAgent();
  ASSERT_TRUE(Await([&] { return placement_.StatusOf("vm").starts_with("RUNNING"); }));
  Kill();
  const std::vector<pid_t> vm = Vms();
  ASSERT_EQ(vm.size(), 1u);
  auto attached = [&] {
    return !placement_.Asked("vm") && VmHasDisk() && RecordOfVm().disks.size() == 1 &&
           !RecordOfVm().disks[0].leaving;
  };
  auto detached = [&] { return !placement_.Asked("vm") && !VmHasDisk() && RecordOfVm().disks.empty(); };
  // Whether an agent was killed at this step of what is asked, which the next agent ends.
  auto killed_at = [&](int& step, const std::string& asked, const std::function<bool()>& done) {
    placement_.Ask("vm", asked);
    StartAgent(std::to_string(step));
    const bool killed = AwaitKilledOrSettled(done);
    step += killed ? 1 : 0;
    Kill();
    StartAgent();
    EXPECT_TRUE(Await(done)) << asked << ", step " << step << ": " << placement_.StatusOf("vm");
    Kill();
    return killed;
  };
  int coming = 0;  // steps
  int leaving = 0;
  bool killed_coming = true;
  bool killed_leaving = true;
  while (killed_coming || killed_leaving) {
    ASSERT_LT(coming + leaving, 100);
    killed_coming = killed_at(coming, "attach " + path, attached);
    killed_leaving = killed_at(leaving, "detach", detached);
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(Vms(), vm);
  }
  EXPECT_GE(coming, 2);   // before and after the VMM is told
  EXPECT_GE(leaving, 1);  // before it is asked back
  placement_.Release("vm");
  StartAgent();
  EXPECT_TRUE(Await([&] { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }));
  EXPECT_TRUE(std::filesystem::exists(path));  // an attached disk is its owner's
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
  std::filesystem::remove(folder_.path() / "placement" / "status" / "vm");
  StartAgent();
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
