#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "vmm/api/vm_control.h"

namespace berth::vmm {

// A machine of one vCPU and one region that keeps the state as the real one does. Thread-safe.
class FakeVmControl : public VmControl {
 public:
  FakeVmControl() { config_.kernel = "vmlinuz"; }

  bool exists() override { return present; }
  Status Create(std::string_view json, ConfigErrors& errors) override {
    TRY(Refuse(errors));
    return Note("create " + std::string(json));
  }
  Status Boot() override {
    TRY(boot_fails);
    return Note("boot");
  }
  Status Delete() override { return Note("delete"); }
  Status ResizeDisk(const std::string& id, uint64_t bytes) override {
    return Note("disk " + id + " " + std::to_string(bytes));
  }
  Status Snapshot(const std::string& directory) override { return Note("snapshot " + directory); }
  Status Restore(RestoreRequest request) override {
    std::string nets;
    for (const RestoredNet& net : request.nets) nets += " " + net.id + ":" + std::to_string(net.fds.size());
    const std::string prefault = request.prefault ? (*request.prefault ? " prefault" : " lazy") : "";
    return Note("restore " + request.directory + prefault + (request.on_demand ? " on-demand" : "") +
                (request.resume ? " resume" : "") + nets);
  }
  Status CoreDump(const std::string& path) override { return Note("core " + path); }
  Result<std::string> Preflight(std::string_view json, ConfigErrors& errors) override {
    TRY(Refuse(errors));
    if (json == "bad") return InvalidArgument("bad");
    return std::string("[]");
  }
  std::string Accounting() override { return R"({"nodes":[]})"; }
  std::string Placement() override { return R"({"placed":true})"; }

  VmConfig config() override { return config_; }

  VmFacts Facts() override {
    std::lock_guard lock(mutex_);
    VmFacts facts;
    facts.state = state_;
    facts.vcpus = {{0, 4711, {2, 3}}};
    facts.memory_regions = {{"mem0", 0, 512 << 20, 0x7f0000000000, 512 << 20, 1}};
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

  Status Resize(const ResizeRequest& request) override {
    std::lock_guard lock(mutex_);
    calls_.push_back("resize " + std::to_string(request.vcpus.value_or(0)) + " " +
                     std::to_string(request.ram.value_or(0)) + " " + std::to_string(request.timeout.count()));
    if (request.vcpus.value_or(1) > 4) return InvalidArgument("this one can have 1 to 4", "desired_vcpus");
    return OkStatus();
  }
  Status ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout) override {
    std::lock_guard lock(mutex_);
    calls_.push_back("zone " + zone + " " + std::to_string(ram) + " " + std::to_string(timeout.count()));
    return OkStatus();
  }
  Result<AddedDevice> AddDevice(std::string_view option, std::string_view json, std::vector<UniqueFd> fds,
                                ConfigErrors& errors) override {
    TRY(Refuse(errors));
    std::lock_guard lock(mutex_);
    const std::string with = fds.empty() ? "" : " with " + std::to_string(fds.size()) + " descriptors";
    calls_.push_back("add " + std::string(option) + " " + std::string(json) + with);
    if (option == "net") return AddedDevice{"net0", std::nullopt};
    return AddedDevice{"disk7", "0000:00:05.0"};
  }
  Status RemoveDevice(const std::string& id, std::chrono::milliseconds timeout) override {
    std::lock_guard lock(mutex_);
    calls_.push_back("remove " + id + " " + std::to_string(timeout.count()));
    return id == "disk7" ? OkStatus() : NotFound("no device " + id, "id");
  }

  // What was asked for beside actions, as text.
  std::vector<std::string> calls() {
    std::lock_guard lock(mutex_);
    return calls_;
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

  ConfigErrors wrong;  // of the next configuration or device
  Status boot_fails;
  bool fail_reboot = false;
  bool present = true;

 private:
  Status Refuse(ConfigErrors& errors) const {
    errors = wrong;
    return wrong.empty() ? OkStatus() : InvalidArgument("the configuration is wrong");
  }
  Status Note(std::string call) {
    std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    return OkStatus();
  }

  VmConfig config_;
  std::mutex mutex_;  // guards what follows
  VmState state_ = VmState::kRunning;
  std::vector<VmAction> actions_;
  std::vector<std::string> calls_;
};

}  // namespace berth::vmm
