#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "compute-agent/instances/instance_record.h"
#include "compute-agent/instances/vmm_client.h"
#include "tests/compute-agent/instances/file_placement.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {

using std::chrono::milliseconds;

// An agent in a process of its own, placement as a folder and fake VMMs; the agent is killed again and again.
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
  // Likewise, where `done` can be seen before the agent has taken its last step: that one gets its moment.
  template <class Condition>
  bool AwaitKilledOrSettled(Condition done) {
    if (AwaitKilled(done)) return true;
    for (int look = 0; look < 50; ++look) {
      if (::waitpid(agent_, nullptr, WNOHANG) == agent_) {
        agent_ = -1;
        return true;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }
  InstanceRecord RecordOfVm() const {
    auto records = RecordStore::Open(folder_.path() / "a" / "agent.db");
    if (!records.has_value()) return {};  // its folder is not there yet
    return (*records)->Load(TestClaim("vm", 1, 1).consumer).value_or(InstanceRecord{});
  }
  // The VMM itself is asked, not what the agent believes.
  bool VmHasDisk() const {
    Result<VmmInfo> info = VmmClient(FolderOfVm() / "api.sock").Info();
    return info.has_value() && info->devices.contains("vol-data");
  }
  std::filesystem::path FolderOfVm() const {
    return folder_.path() / "a" / "instances" / TestClaim("vm", 1, 1).consumer.ToString();
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

}  // namespace berth::agent
