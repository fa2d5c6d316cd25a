#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "common/cpu_set.h"
#include "common/status.h"
#include "compute-agent/devices/card_trust.h"
#include "compute-agent/images/image_store.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/device_binder.h"
#include "compute-agent/instances/device_handover.h"
#include "compute-agent/instances/instance_events.h"
#include "compute-agent/instances/instance_policy.h"
#include "compute-agent/instances/instance_record.h"
#include "compute-agent/instances/process.h"
#include "compute-agent/instances/record_store.h"
#include "compute-agent/instances/used_devices.h"
#include "compute-agent/instances/vmm_client.h"
#include "compute-agent/networks/tap_links.h"
#include "compute-agent/sriov/vf_ports.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::agent {

// What all instances of an agent share.
struct InstanceEnvironment {
  std::string folder;              // holds one folder per instance, named by its UUID
  RecordStore* records = nullptr;  // outlives the instances
  std::string vmm_path;            // the program berth-vmm
  DeviceBinder binder{"/"};
  const VfPorts* vf_ports = nullptr;  // outlives the instances
  UsedDevices used_devices{""};
  SecureCards secure_cards{"", ""};
  ImageStore* images = nullptr;  // outlives the instances
  TapLinks* taps = nullptr;      // likewise; null: no TAP is made
  std::string root = "/";        // holds dev/kmsg
  InstancePolicy policy;
  // Called between the steps of creation and deletion: where an agent may end without losing anything.
  std::function<void()> between_steps;
  std::function<std::string(const placement::Claim&)> encode_claim;  // for the record
  // The instance other than this one whose record has the device. Empty: nobody else has any.
  std::function<std::optional<Uuid>(const PciAddress&, const Uuid&)> other_holder;
  std::string confidential;  // what the VMM makes confidential guests by, in its words; empty: it makes none
  ConsoleHub* consoles = nullptr;    // outlives the instances
  InstanceEvents* events = nullptr;  // likewise
  std::chrono::milliseconds start_timeout{
      600'000};  // until the API socket answers; memory is filled meanwhile
  std::chrono::milliseconds shutdown_timeout{30'000};  // after the power button, before SIGTERM
  std::chrono::milliseconds terminate_timeout{5'000};  // after SIGTERM, before SIGKILL
  std::chrono::milliseconds restore_timeout{30'000};   // for a driver to take a device back
};

// The longest `folder` whose sockets still have valid UNIX socket addresses.
inline constexpr size_t kMaxInstancesFolder = 107 - (1 + 36 + 1 + 11);

// What an instance is started from.
struct StartRequest {
  const placement::Claim& claim;
  const placement::HostReport& host;
  const CpuSet& exclusive;                   // CPUs that no floating vCPU may use
  const std::set<PciAddress>& unmanaged;     // devices whose driver is left alone
  const std::set<PciAddress>& one_time_use;  // devices that are marked as used before they are handed out
  const std::map<PciAddress, PciAddress>& cards;  // of devices, where cards are trust domains
  const std::set<PciAddress>& ordinary_cards;     // of which ordinary instances have functions
};

// One instance of this host: its folder, its record, its process. Every step is recorded before it is taken,
// may be repeated, and does not wait: callers step again after `NextStep`. Thread-compatible.
class Instance {
 public:
  using Clock = std::chrono::steady_clock;

  // An instance of which nothing exists yet.
  Instance(const InstanceEnvironment& environment, const Uuid& consumer, std::string name);
  // An instance whose folder or record is there; its process is adopted if it still runs. Never fails: an
  // unreadable record makes an instance that shows the error and is left alone until its folder is gone.
  static std::unique_ptr<Instance> Load(const InstanceEnvironment& environment, const Uuid& consumer);

  // One step towards what is wanted of the instance: running, paused or stopped, with the disks and devices
  // that it is to have.
  void Step(const StartRequest& request);
  // What is wanted of an instance of which nothing is on record; of another one what was wanted before.
  void BeginsAs(Goal goal) {
    if (!recorded_) record_.goal = goal;
  }
  // What is wanted from now on; durable when it returns OK, and done by Step. kFailedPrecondition: its
  // present state does not allow it. With `dry_run`, here and below: only whether it would be accepted.
  Status Act(Action action, bool dry_run = false);
  // Likewise. The same disk again is no error; kAlreadyExists: the id belongs to another one.
  Status AttachDisk(DiskAttachment disk, bool dry_run = false);
  // kNotFound: none was attached by this id.
  Status DetachDisk(const std::string& id, bool dry_run = false);
  // Whether the instance, or its VMM, may still have this device.
  bool Holds(const PciAddress& device) const;
  // Looks how the process is, starts nothing.
  void Observe();
  // One step towards nothing left: guest shut down, process ended, drivers restored, folder removed. True
  // when that is reached.
  bool StepTowardsGone();
  // One step towards no process; everything else stays. True when that is reached.
  bool StepTowardsNoProcess();
  // Takes back the devices that no claim of the instance names any more. True when that is done. Only while
  // it has no process.
  bool TakeBackUnclaimed(const placement::Claim* claim);
  // Lets the threads of floating vCPUs run on `affinity` where it differs. Of no effect unless running.
  void AdjustAffinity(const placement::Claim& claim, const std::map<uint32_t, CpuSet>& affinity);

  const InstanceRecord& record() const { return record_; }
  const placement::InstanceStatus& status() const { return status_; }
  bool has_process() const { return process_.has_value(); }
  bool broken() const { return broken_; }
  int pidfd() const { return process_.has_value() ? process_->pidfd() : -1; }
  // How long at most until the next step is due.
  std::chrono::milliseconds NextStep() const;

  std::string folder() const { return environment_.folder + "/" + record_.consumer.ToString(); }
  std::string api_socket() const { return folder() + "/api.sock"; }
  std::string serial_socket() const { return folder() + "/serial.sock"; }
  std::string console_log() const { return folder() + "/console.log"; }
  std::string vmm_log() const { return folder() + "/vmm.log"; }

 private:
  enum class Stop { kNone, kAsking, kPowerButton, kTerminated, kKilled };

  void Recover();
  void RecoverWithoutRecord();
  void ForgetBrokenRecord();
  std::optional<Uuid> OtherHolder(const PciAddress& device) const;
  std::string HeldElsewhere(const placement::Claim& claim) const;
  Status TakeBack(const BoundDevice& device) const;
  Status Prepare(const StartRequest& request);
  Status UseCards(const StartRequest& request, const std::vector<placement::DeviceBinding>& devices) const;
  Status MarkUsed(const StartRequest& request) const;
  Status BindDevices(const StartRequest& request, const placement::Claim& claim);
  Status StartProcess();
  Result<placement::Claim> Composed(const StartRequest& request);
  // Replaces images and seeds by files of the instance's folder; false: a copy is still being made.
  Result<bool> PrepareDisks(placement::Claim& claim);
  Result<std::string> PrepareSeed(const std::string& seed, const placement::Claim& claim,
                                  size_t number) const;
  // Replaces bridges by TAPs, which are made.
  Status PrepareNets(placement::Claim& claim);
  Status RemoveTaps();
  Status CheckAction(Action action) const;
  Status Record(InstanceRecord next);
  bool Keep(InstanceRecord next);
  bool ForgetDevice(const PciAddress& device);
  bool StepTowardsStopped();
  void FollowGoal();
  void FollowPause();
  void FollowReset();
  void Plug(const StartRequest& request);
  bool PlugDisks(const VmmClient& vmm);
  bool PlugDevices(const VmmClient& vmm, const StartRequest& request);
  Status PlugDevice(const VmmClient& vmm, const placement::Claim& claim, const StartRequest& request,
                    const placement::DeviceBinding& device);
  void ForgetLeftDisks();
  void Note(std::string text);
  void ShowRunning();
  void Relaunch();
  void ForgetProcess();
  void HandleEnd();
  void End(placement::InstanceState state, const std::string& detail);
  bool MayRestart(placement::InstanceState state) const;
  void WatchConsole();
  void CheckStarted();
  Status AskToShutDown();
  void AdvanceStop();
  bool CleanUp();
  void Finish(placement::InstanceState state, std::string detail);
  bool Save();
  void BetweenSteps() const {
    if (environment_.between_steps) environment_.between_steps();
  }
  void SetStatus(placement::InstanceState state, std::string detail = {});
  void Count(std::atomic<uint64_t> InstanceEvents::* event) const {
    if (environment_.events != nullptr) ++(environment_.events->*event);
  }
  std::string LastOutput() const;
  std::string ExitText(const ExitStatus& exit) const;

  const InstanceEnvironment& environment_;
  InstanceRecord record_;
  bool recorded_ = false;  // something of it is on disk
  std::optional<Process> process_;
  placement::InstanceStatus status_;
  bool broken_ = false;
  bool adopted_ = false;  // the process was started by an earlier agent
  Stop stop_ = Stop::kNone;
  Clock::time_point deadline_{};                        // of the present phase
  std::optional<Clock::time_point> exit_status_until_;  // how long to wait for the exit status
  std::optional<std::string> kill_reason_;              // why the agent itself killed the process
  int tap_failures_ = 0;
  std::map<PciAddress, Clock::time_point> unrestored_;  // when a driver first did not take its device back
  Clock::time_point next_restore_{};
  std::optional<uint64_t> swiotlb_told_;  // slabs of the full buffer that was told last
  Clock::time_point running_since_{};
  std::optional<Clock::time_point> restart_at_;   // by policy, not before
  bool reset_done_ = false;                       // record_.reset, which only the record does not say yet
  bool copying_ = false;                          // a disk is being copied
  bool waiting_ = false;                          // another instance has a device of the claim
  std::optional<bool> paused_;                    // as far as known
  std::optional<std::set<std::string>> plugged_;  // ids of the VMM's devices, as far as known
  std::vector<PciAddress> given_;                 // devices of the claim that the VMM was last compared with
  bool compared_ = false;                         // the VMM began with given_, or was compared with the claim
  bool plug_ = false;                             // disks or devices may differ from what is wanted
  Clock::time_point next_call_{};                 // of the VMM, after one that failed
  std::map<std::string, Clock::time_point> asked_back_;  // device ids: when the guest is asked again
  // A VMM that accepts but does not answer is asked ever more rarely and patiently: one thread serves all.
  std::chrono::milliseconds ping_patience_{20};
  Clock::time_point next_ping_{};
};

}  // namespace berth::agent
