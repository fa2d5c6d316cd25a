#pragma once

#include <mutex>
#include <vector>

#include "vmm/api/vm_control.h"

namespace berth::vmm {

// A machine of one vCPU and one region that keeps the state as the real one does. Thread-safe.
class FakeVmControl : public VmControl {
 public:
  FakeVmControl() { config_.kernel = "vmlinuz"; }

  const VmConfig& config() const override { return config_; }

  VmFacts Facts() override {
    std::lock_guard lock(mutex_);
    VmFacts facts;
    facts.state = state_;
    facts.vcpus = {{0, 4711, {2, 3}}};
    facts.memory_regions = {{"mem0", 0, 512 << 20, 0x7f0000000000, 1}};
    facts.threads = {{"api", 4712}};
    return facts;
  }

  VmCounters Counters() override { return {{"disk0", {{"read_bytes", 4096}, {"write_bytes", 0}}}}; }

  Status Perform(VmAction action) override {
    std::lock_guard lock(mutex_);
    actions_.push_back(action);
    if (action == VmAction::kPause && state_ != VmState::kRunning)
      return FailedPrecondition("the machine is " + std::string(VmStateName(state_)), "state",
                                "resume it first");
    if (action == VmAction::kPause) state_ = VmState::kPaused;
    if (action == VmAction::kResume) state_ = VmState::kRunning;
    if (action == VmAction::kReboot && fail_reboot) return Internal("the reset failed");
    return OkStatus();
  }

  std::vector<VmAction> actions() {
    std::lock_guard lock(mutex_);
    return actions_;
  }

  // Drops the list of actions.
  void Forget() {
    std::lock_guard lock(mutex_);
    actions_.clear();
  }

  bool fail_reboot = false;

 private:
  VmConfig config_;
  std::mutex mutex_;  // guards what follows
  VmState state_ = VmState::kRunning;
  std::vector<VmAction> actions_;
};

}  // namespace berth::vmm
