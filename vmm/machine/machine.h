#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/status.h"
#include "vmm/api/vm_control.h"
#include "vmm/bus/event_loop.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/assigned_devices.h"
#include "vmm/machine/board.h"
#include "vmm/machine/event_monitor.h"
#include "vmm/machine/hotplug_requests.h"
#include "vmm/memory/zoned_memory.h"
#include "vmm/snapshot/memory_pager.h"
#include "vmm/snapshot/snapshot_files.h"
#include "vmm/state/state_reader.h"

namespace berth::vmm {

// How a machine came to its end.
struct MachineEnd {
  enum class Kind { kPoweredOff, kFailed };
  Kind kind = Kind::kPoweredOff;
  std::string message;  // of a failure
};

// How a machine comes out of a snapshot.
struct RestoreOptions {
  std::optional<bool> prefault;  // instead of what the configuration says of each zone
  bool on_demand = false;        // memory comes when it is touched, the rest meanwhile
};

// One virtual machine over all its boots: the memory and the serial port's far end stay, a reset gives them a
// new board. Thread-safe, except that no call may come from a vCPU's thread or the device loop. The guest's
// events, and the actions that are only asked for, are carried out on the `control` loop.
class Machine {
 public:
  // Maps and binds the memory and opens what the configuration names. `on_end` runs on the control loop when
  // the guest has powered off or cannot go on, or an exit was asked for; the machine is shut down by then.
  // `kvm`, `control` and `monitor` outlive the machine, which is destroyed when the control loop runs no
  // more, or on it.
  static Result<std::unique_ptr<Machine>> Create(Kvm& kvm, VmConfig config, EventLoop& control,
                                                 std::function<void(MachineEnd)> on_end,
                                                 EventMonitor* monitor = nullptr,
                                                 const VfioSource& vfio = KernelVfio());
  // A machine as it was when the snapshot was taken, paused. The configuration may be edited as
  // docs/vmm.md says. Errors name the file or the part of the state that does not fit.
  static Result<std::unique_ptr<Machine>> Restore(Kvm& kvm, SnapshotContent snapshot,
                                                  const RestoreOptions& options, EventLoop& control,
                                                  std::function<void(MachineEnd)> on_end,
                                                  EventMonitor* monitor = nullptr);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Power on. kFailedPrecondition while it runs or is paused.
  Status Boot();

  // As VmControl says.
  VmConfig config();
  VmFacts Facts();
  VmCounters Counters();
  Status Perform(VmAction action);
  Status Resize(const ResizeRequest& request);
  Status ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout);
  Status ResizeDisk(const std::string& id, uint64_t bytes);
  Status Snapshot(const std::string& directory);
  Status CoreDump(const std::string& path);
  Result<AddedDevice> AddDevice(std::string_view option, std::string_view json,
                                std::vector<UniqueFd> fds = {}, ConfigErrors* errors = nullptr);
  Status RemoveDevice(const std::string& id, std::chrono::milliseconds timeout);

  // Whether a guest that can have 1 to `max` vCPUs can have so many. Names the field of vm.resize.
  static Status CheckVcpus(uint32_t wanted, uint32_t max);

 private:
  Machine(Kvm& kvm, VmConfig config, EventLoop& control, std::function<void(MachineEnd)> on_end,
          EventMonitor* monitor);

  // With mutex_ held:
  Status StartBoard();  // builds a board and lets it run
  // Builds one, paused; `saved`: what it goes on from.
  Status BuildBoard(StateReader* saved);
  void StartDevices();
  void StopDevices();
  void StopBoard();
  void DropRemoved();  // lets go of what the guest has ejected
  Status Require(VmState state, std::string_view action) const;
  // Runs `handle` on the control loop with mutex_ held, unless board number `boot` is gone by then.
  void Post(uint32_t boot, std::function<void()> handle);
  BoardEvents EventsOf(uint32_t boot);
  void Reboot();
  // The host wants the device back, and says so again and again: the guest is asked first.
  void GiveDeviceBack(const std::string& id);
  void End(MachineEnd end);
  void Tell(std::string_view source, std::string_view event, const EventMonitor::Properties& properties = {});
  // machine_snapshot.cc
  Status CheckSnapshot() const;
  VmConfig SnapshotConfig() const;
  Status WriteSnapshotTo(const std::string& directory);
  void SaveMemory(const std::vector<SavedRun>& plan, StateWriter& out) const;
  Status RestoreFrom(SnapshotContent snapshot, const RestoreOptions& options);
  Status RestoreMemory(SnapshotContent& snapshot, const RestoreOptions& options, StateReader& in);
  Status PlugSaved(const std::vector<SavedRun>& plan);
  // machine_hotplug.cc
  Status WatchRequests();  // once
  void BeginRequest(const std::string& subject, uint64_t wanted, std::chrono::milliseconds timeout);
  // How far they are; what has changed is told as an event.
  std::vector<HotplugFacts> LookAtRequests();
  void TellRequest(const HotplugFacts& changed);
  void SetRequestTimer(std::chrono::milliseconds first, std::chrono::milliseconds every);
  Status ResizeVcpus(uint32_t wanted, std::chrono::milliseconds timeout);
  Status CheckMemory(uint64_t ram) const;
  Status ResizeMemory(uint64_t ram, std::chrono::milliseconds timeout);
  Status AddMemoryByAcpi(const MemoryRegion& area, uint64_t wanted, std::chrono::milliseconds timeout);
  Status RequestMemory(const MemoryRegion& area, uint64_t wanted, std::chrono::milliseconds timeout);
  void BeginMemoryRequests();
  std::string MemorySubject(const std::string& zone) const;  // of a request about it
  // Bytes of a zone that are there at boot.
  uint64_t BootRam(const std::string& zone) const;
  const MemoryRegion* FindArea(const std::string& zone) const;
  Status CheckBalloon(uint64_t bytes, std::optional<uint64_t> ram) const;
  void ResizeBalloon(uint64_t bytes, std::chrono::milliseconds timeout);
  uint64_t ActualOf(const std::string& subject) const;
  Result<PciPlace> Plug(std::string_view option, const VmConfig& with);
  void ForgetDevice(const std::string& id);
  void RemoveAssigned(const std::string& id);

  Kvm& kvm_;
  EventLoop& control_;
  const std::function<void(MachineEnd)> on_end_;
  EventMonitor* const monitor_;                                 // may be null
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for tasks that outlive the machine

  std::mutex mutex_;  // guards what follows
  VmConfig config_;
  HostPerformance performance_;
  std::unique_ptr<ConfidentialBoot> confidential_;    // of the board; none for an ordinary guest
  std::map<std::string, uint64_t> requested_memory_;  // zone -> bytes of its memory device
  std::vector<MemoryHotplug::Piece> added_memory_;    // by ACPI
  HotplugRequests requests_;
  UniqueFd request_timer_;  // while something is asked of the guest, on control_
  VmState state_ = VmState::kCreated;
  uint32_t boots_ = 0;
  std::unique_ptr<ZonedMemory> memory_;
  std::unique_ptr<MemoryPager> pager_;  // while memory comes on demand, and after
  std::unique_ptr<AssignedDevices> assigned_;
  std::map<std::string, std::chrono::steady_clock::time_point> wanted_;  // since when, by id
  std::unique_ptr<EventLoop> devices_;
  std::shared_ptr<SerialBackend> serial_;
  std::shared_ptr<SerialBackend> console_;
  std::vector<NetPort> nets_;
  std::unique_ptr<WorkerLoop> starter_;  // of the board's threads, which go first
  std::unique_ptr<Board> board_;
  std::thread device_thread_;  // runs devices_ while there is a board

  struct RemovedDevice {
    std::string id;
    std::shared_ptr<PciFunction> function;
  };
  std::mutex
      removed_mutex_;  // the innermost; guards what follows, which vCPUs fill and the control loop drains
  std::vector<RemovedDevice> removed_;
};

}  // namespace berth::vmm
