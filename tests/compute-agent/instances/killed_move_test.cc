// An agent that is killed at each step of its part of a move: of what leaves the host, comes back, is resized
// on it, or was evacuated from it. (What arrives is created: killed_agent_test.cc.)
#include <algorithm>
#include <functional>

#include "tests/compute-agent/instances/killed_agent_fixture.h"

namespace berth::agent {
namespace {

class KilledMoveTest : public KilledAgentTest {
 protected:
  bool Running() const { return placement_.StatusOf("vm").starts_with("RUNNING"); }
  bool Has(const std::string& name) const {
    const std::vector<std::string> names = placement_.Names();
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  bool NothingLeft() const { return placement_.Names().empty() && Vms().empty() && Folders() == 0; }

  void Run(const std::string& words) {
    placement_.Create("vm", words);
    StartAgent();
    ASSERT_TRUE(Await([&] { return Running() && RecordOfVm().phase == Phase::kRunning; }));
  }
  // The guest is shut down for its move; no agent runs afterwards.
  void StopForMove() {
    placement_.Ask("vm", "stop");
    ASSERT_TRUE(Await([&] {
      return !placement_.Asked("vm") && placement_.StatusOf("vm").starts_with("STOPPED") && Vms().empty();
    }));
    Kill();
  }
  // Kills an agent at `step` of what leads to `done`, and lets the next one finish it. Whether it was killed.
  bool KilledAt(int step, const std::function<bool()>& done) {
    StartAgent(std::to_string(step));
    const bool killed = AwaitKilledOrSettled(done);
    Kill();
    StartAgent();
    EXPECT_TRUE(Await(done)) << "step " << step << ": " << placement_.StatusOf("vm");
    Kill();
    return killed;
  }
  // `prepare`, then KilledAt each step there is.
  void KillAtEachStep(int least, const std::function<void()>& prepare, const std::function<bool()>& done,
                      const std::function<void()>& after) {
    int step = 0;
    for (bool killed = true; killed; ++step) {
      ASSERT_LT(step, 100);
      prepare();
      ASSERT_FALSE(HasFatalFailure());
      killed = KilledAt(step, done);
      ASSERT_FALSE(HasFailure()) << "step " << step;
      after();
      ASSERT_FALSE(HasFailure()) << "step " << step;
    }
    EXPECT_GE(step, least);
  }
  void Delete() {
    placement_.Release("vm");
    StartAgent();
    EXPECT_TRUE(Await([&] { return NothingLeft(); }));
    Kill();
  }
  std::string CommandLineOfVm() const {
    const std::vector<pid_t> vms = Vms();
    return vms.size() == 1 ? ReadFile("/proc/" + std::to_string(vms[0]) + "/cmdline").value_or("") : "";
  }
};

TEST_F(KilledMoveTest, KilledAtEachStepOfGivingUpTheOldPlaceOfAMigrationNothingIsLeft) {
  KillAtEachStep(
      3,
      [&] {
        Run("run");
        StopForMove();
        placement_.Reserve("vm", true);  // moved and confirmed
        placement_.TakeAway("vm");
      },
      [&] { return NothingLeft(); }, [] {});
}

TEST_F(KilledMoveTest, WhileTheOldPlaceOfAMigrationIsHeldAnAgentThatStartsRunsNothingThere) {
  Run("run");
  StopForMove();
  placement_.Reserve("vm", false);
  placement_.TakeAway("vm");
  // Seen when everything else has been done.
  placement_.Create("marker", "run");
  StartAgent();
  ASSERT_TRUE(Await([&] { return placement_.StatusOf("marker").starts_with("RUNNING"); }));
  EXPECT_EQ(Folders(), 2u);
  EXPECT_EQ(Vms().size(), 1u);
  EXPECT_TRUE(Has("vm-move"));
  placement_.Release("marker");
  placement_.Reserve("vm", true);
  EXPECT_TRUE(Await([&] { return NothingLeft(); }));
}

TEST_F(KilledMoveTest, KilledAtEachStepOfARevertedMigrationExactlyOneVmRunsWhereItWas) {
  KillAtEachStep(
      4,
      [&] {
        Run("run");
        StopForMove();
        placement_.Reserve("vm", true);  // exchanged back: of the other host's place nothing is held any more
        placement_.Ask("vm", "start");
      },
      [&] { return Running() && !placement_.Asked("vm") && !Has("vm-move") && Vms().size() == 1; },
      [&] {
        EXPECT_EQ(Folders(), 1u);
        Delete();
      });
}

TEST_F(KilledMoveTest, KilledAtEachStepOfAResizeOnItsHostExactlyOneVmRunsAsItIsToBe) {
  KillAtEachStep(
      4,
      [&] {
        Run("run before");
        StopForMove();
        placement_.Reserve("vm", false);
        placement_.Create("vm", "run after");
        placement_.Ask("vm", "start");
      },
      [&] {
        return Running() && !placement_.Asked("vm") &&
               CommandLineOfVm().find("run after") != std::string::npos;
      },
      [&] {
        EXPECT_EQ(Vms().size(), 1u);
        EXPECT_TRUE(Has("vm-move"));  // both places are held until somebody decides
        const std::vector<pid_t> vm = Vms();
        placement_.Reserve("vm", true);
        StartAgent();
        EXPECT_TRUE(Await([&] { return !Has("vm-move"); }));
        Kill();
        EXPECT_EQ(Vms(), vm);
        Delete();
      });
}

TEST_F(KilledMoveTest, KilledAtEachStepOfConfirmingAResizeTheSameVmRunsOn) {
  Run("run");
  Kill();
  const std::vector<pid_t> vm = Vms();
  KillAtEachStep(
      2, [&] { placement_.Reserve("vm", true); }, [&] { return !Has("vm-move"); },
      [&] {
        EXPECT_EQ(Vms(), vm);
        EXPECT_EQ(Folders(), 1u);
      });
  Delete();
}

// Its host was taken for dead, and comes back with the VM still running.
TEST_F(KilledMoveTest, KilledAtEachStepOfEndingWhatWasEvacuatedNothingIsLeft) {
  KillAtEachStep(
      4,
      [&] {
        Run("run");
        Kill();
        ASSERT_EQ(Vms().size(), 1u);
        placement_.Reserve("vm", true);
        placement_.TakeAway("vm");
      },
      [&] { return NothingLeft(); }, [] {});
}

TEST_F(KilledMoveTest, AnEvacuatedGuestThatIgnoresEverythingIsKilledBeforeItsPlaceIsFree) {
  Run("fake_deaf");
  Kill();
  placement_.Reserve("vm", true);
  placement_.TakeAway("vm");
  StartAgent();
  EXPECT_TRUE(Await([&] { return !Has("vm-move"); }));
  EXPECT_TRUE(Vms().empty());
  EXPECT_EQ(Folders(), 0u);
}

}  // namespace
}  // namespace berth::agent
