#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "vmm/api/vm_control.h"
#include "vmm/jail/confinement.h"
#include "vmm/machine/machine.h"

namespace berth::vmm {

// The process as its API sees it: no VM, then one that is created, booted, shut down, booted again, deleted.
// Thread-safe, except that no call may come from a vCPU's thread or the device loop.
class Vmm final : public VmControl {
 public:
  // `on_end` as of Machine. All that is handed in outlives it; it is destroyed when the control loop runs no
  // more.
  Vmm(Kvm& kvm, EventLoop& control, std::function<void(MachineEnd)> on_end, EventMonitor* monitor,
      Confinement& confinement)
      : kvm_(kvm),
        control_(control),
        on_end_(std::move(on_end)),
        monitor_(monitor),
        confinement_(confinement) {}

  // kAlreadyExists when there is one. Errors as of Confinement::Enter.
  Status CreateVm(VmConfig config);
  // A VM out of a snapshot, paused, or running if `resume`. kAlreadyExists when there is one.
  Status RestoreVm(SnapshotContent snapshot, const RestoreOptions& options, bool resume);

  bool exists() override;
  Status Create(std::string_view json, ConfigErrors& errors) override;
  Status Boot() override;
  Status Delete() override;
  VmConfig config() override;
  VmFacts Facts() override;
  VmCounters Counters() override;
  Status Perform(VmAction action) override;
  Status Resize(const ResizeRequest& request) override;
  Status ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout) override;
  Status ResizeDisk(const std::string& id, uint64_t bytes) override;
  Status Snapshot(const std::string& directory) override;
  Status Restore(RestoreRequest request) override;
  Status CoreDump(const std::string& path) override;
  Result<AddedDevice> AddDevice(std::string_view option, std::string_view json, std::vector<UniqueFd> fds,
                                ConfigErrors& errors) override;
  Status RemoveDevice(const std::string& id, std::chrono::milliseconds timeout) override;
  Result<std::string> Preflight(std::string_view json, ConfigErrors& errors) override;
  std::string Accounting() override;
  std::string Placement() override;

 private:
  // The machine if there is one already: it is made at the first boot.
  std::shared_ptr<Machine> machine();
  // A change of what has not booted: `change` is made to a copy, which must be valid.
  Status Change(const std::function<Status(VmConfig&)>& change);
  // Confines the process to what this VM needs, if it is to be confined: this thread and the control loop's.
  Status Confine(const VmConfig& config, bool restored);
  // The error of something that could not be opened, with a hint if that may be because the process is
  // confined.
  Status OutOfReach(Status error);
  // kNotFound without a VM, kFailedPrecondition before its first boot.
  Result<std::shared_ptr<Machine>> Booted(std::string_view action);

  Kvm& kvm_;
  EventLoop& control_;
  const std::function<void(MachineEnd)> on_end_;
  EventMonitor* const monitor_;
  std::mutex mutex_;  // guards what follows
  Confinement& confinement_;
  std::optional<VmConfig> config_;  // of a VM that has not booted
  std::shared_ptr<Machine> machine_;
};

}  // namespace berth::vmm
