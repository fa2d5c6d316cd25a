#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "common/work_queue.h"
#include "compute-agent/devices/host_config.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/instance.h"
#include "compute-agent/instances/placement_proof.h"
#include "compute-agent/instances/record_store.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::agent {

// Where the reconciler tells what became of claims. Called from its thread; a call may block for a few
// seconds.
class ClaimReporter {
 public:
  virtual ~ClaimReporter() = default;
  virtual Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) = 0;
  // Nothing of the claim runs or is bound any more. NotFound is success.
  virtual Status FinalizeClaim(const Uuid& consumer) = 0;
  // Text from which RestoreClaim makes a claim that placement has lost; empty: not possible.
  virtual std::string EncodeClaim(const placement::Claim& claim) const {
    (void)claim;
    return {};
  }
  // kAlreadyExists: the instance has a claim, here or elsewhere (field "consumer"), or its name is another's.
  // Refused when others hold by now what the claim held.
  virtual Status RestoreClaim(const std::string& encoded) = 0;
  // Nothing of the instance has a device any more that was asked back from it. NotFound is success.
  virtual Status DropDevice(const Uuid& consumer, const PciAddress& device) = 0;
};

struct ReconcilerOptions {
  std::string state_dir;
  std::string vmm_path;
  std::string root = "/";  // holds sys/
  std::chrono::milliseconds start_timeout{600'000};
  std::chrono::milliseconds shutdown_timeout{30'000};
  std::chrono::milliseconds terminate_timeout{5'000};
  std::chrono::milliseconds restore_timeout{30'000};  // for a driver to take each device back
  InstancePolicy policy = {};
  std::chrono::milliseconds proof_interval{300'000};  // between two comparisons of claims and truth
  Unclaimed unclaimed = Unclaimed::kHeal;
  std::chrono::milliseconds unclaimed_grace{60'000};  // before a VM without a claim is stopped
  TapLinks* taps = nullptr;                           // outlives the reconciler; null: no TAP is made
  VfLinks* vf_links = nullptr;               // outlives the reconciler; null: no VF is set up for a port
  std::string confidential = {};             // see InstanceEnvironment
  std::function<void()> between_steps = {};  // see InstanceEnvironment
};

// What runs of one instance now.
struct InstanceRuntime {
  pid_t pid = 0;  // 0: not running
  ProcessPlacement placement;
  std::string api_socket;
  std::string console_log;
  // Differences between claim and truth; empty while running: the placement is proven.
  std::vector<std::string> violations;
  std::vector<DiskAttachment> disks;  // attached while it existed
  // Of the comparison that the reconciler makes by itself; 0: none yet of this process.
  uint64_t proven_at_ms = 0;
  std::vector<std::string> last_violations;
};

// All instances of this host at one moment.
struct InstanceSummary {
  std::map<placement::InstanceState, size_t> by_state;
  size_t unclaimed = 0;  // placement does not know them
  // Of those that run, by the last comparison of claim and truth.
  size_t proven = 0;
  size_t different = 0;
  size_t unproven = 0;        // not compared yet
  std::set<PciAddress> held;  // devices that are theirs, by claim or record
};

// kInvalidArgument, field "state_dir": not absolute, too long for the sockets below it, or with a character
// that the VMM's options give a meaning.
Status CheckStateDir(const std::string& state_dir);

// Makes the VMM processes of this host what its claims ask for. Level-triggered: compares what should be (the
// claims) with what is (records and processes) and closes the difference, again and again. Claims may be
// repeated, lost and given anew. Ending the reconciler, or killing the agent, leaves the VMs running; the
// next one adopts them. One thread of its own; all calls are thread-safe.
class Reconciler {
 public:
  // Reads the records of state_dir/agent.db and adopts what runs. Errors: the folder cannot be made or
  // used, its path is too long for UNIX sockets, another agent holds it (kFailedPrecondition).
  // `reporter` and `consoles` must outlive the reconciler.
  static Result<std::unique_ptr<Reconciler>> Open(const ReconcilerOptions& options, ClaimReporter& reporter,
                                                  ConsoleHub& consoles);
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  // Huge pages of the instances that run. Before Start only.
  PageCounts OwnHugePages() const;
  // Devices that instances of this host hold according to their records, with the instance. Before Start
  // only.
  std::map<PciAddress, Uuid> HeldDevices() const;
  void Start();

  // What the host is. No instance is started before. `cards`: of each device, where cards are trust domains.
  void SetHost(placement::HostReport host, std::set<PciAddress> unmanaged,
               std::set<PciAddress> one_time_use = {}, std::map<PciAddress, PciAddress> cards = {});
  // All claims of this host; no instance is started or ended before the first call.
  void ReplaceClaims(std::vector<placement::Claim> claims);
  void PutClaim(placement::Claim claim);
  void RemoveClaim(const Uuid& consumer);

  // What a client wants of an instance. Return when it is on record; it is done afterwards, the status tells.
  // Of the instance's own errors see Instance. kNotFound: no such instance here; kFailedPrecondition: it is
  // being deleted; kUnavailable: the claims of this host are not known yet, or the agent is ending.
  // With `dry_run`: only whether it would be accepted.
  Status Act(const Uuid& consumer, Action action, bool dry_run = false);
  Status AttachDisk(const Uuid& consumer, const DiskAttachment& disk, bool dry_run = false);
  Status DetachDisk(const Uuid& consumer, const std::string& id, bool dry_run = false);

  // Without a process (pid 0) when none runs. kNotFound: no such instance here. Reads /proc on the caller's
  // thread.
  Result<InstanceRuntime> Runtime(const Uuid& consumer) const;
  // How many instances were compared last, and how many of them differed from their claims.
  struct ProofCount {
    size_t instances = 0;
    size_t different = 0;
  };
  ProofCount LastProofs() const;
  InstanceSummary Summary() const;
  const InstanceEvents& events() const { return events_; }

 private:
  struct Host {
    placement::HostReport report;
    std::set<PciAddress> unmanaged;
    std::set<PciAddress> one_time_use;
    std::map<PciAddress, PciAddress> cards;
  };
  struct Wish {
    Uuid consumer;
    bool dry_run;  // `change` changes nothing
    std::function<Status(Instance&)> change;
    std::shared_ptr<std::promise<Status>> answer;  // shared with the caller, who may give up waiting
  };
  struct Inbox {
    std::optional<Host> host;
    std::optional<std::vector<placement::Claim>> all;
    std::vector<std::pair<Uuid, std::optional<placement::Claim>>> changes;  // after `all`
    std::vector<Wish> wishes;
  };
  // What Runtime needs of an instance.
  struct View {
    std::optional<ProcessId> process;
    bool running = false;  // the VMM has answered: it is complete
    placement::InstanceState state = placement::InstanceState::kPending;
    std::set<PciAddress> bound;  // devices that its record holds
    std::string api_socket;
    std::string console_log;
    std::vector<DiskAttachment> disks;
    std::optional<placement::Claim> claim;
    std::map<uint32_t, CpuSet> affinity;
  };
  struct Proof {
    ProcessId process;
    uint64_t at_ms = 0;
    std::vector<std::string> violations;
  };
  struct Reported {
    placement::InstanceState state = placement::InstanceState::kPending;
    std::string detail;
    std::chrono::steady_clock::time_point retry_at{};  // this one was refused, others may pass

    bool Is(const placement::InstanceStatus& status) const {
      return state == status.state && detail == status.detail;
    }
  };
  using Clock = std::chrono::steady_clock;

  Reconciler(const ReconcilerOptions& options, ClaimReporter& reporter, ConsoleHub& consoles);
  Status LoadInstances();
  void Run();
  void TakeInbox();
  void Pass();
  void StepClaim(const Uuid& consumer, const placement::Claim& claim);
  void StepReservation(const placement::Claim& claim);
  // Whose record, but that of `but`, has the device.
  std::optional<Uuid> OtherHolder(const PciAddress& device, const Uuid& but) const;
  // The claim's instance, a new one if it was not known.
  Instance& InstanceOf(const placement::Claim& claim);
  void StepUnclaimed();
  Status Ask(const Uuid& consumer, bool dry_run, std::function<Status(Instance&)> change);
  Status Grant(const Wish& wish);
  void DropDevices();
  // False: the claim is elsewhere, what is here is a leftover.
  bool Heal(const Uuid& consumer, const Instance& instance);
  void ReportStatuses();
  bool ReportingPaused() const { return Clock::now() < reporting_paused_until_; }
  void PauseReporting();
  bool Unreachable(const Status& sent);
  void AdjustFloatingVcpus();
  void Publish();
  ProofCount CountProofs() const;  // with mutex_
  void ProveWhenDue();
  void Prove();
  void WaitForWork();
  void Wake() const;

  std::optional<VfPorts> vf_ports_;
  ImageStore images_;
  InstanceEvents events_;
  std::unique_ptr<RecordStore> records_;
  InstanceEnvironment environment_;
  Unclaimed unclaimed_ = Unclaimed::kHeal;
  std::chrono::milliseconds unclaimed_grace_{};
  ClaimReporter& reporter_;
  UniqueFd lock_;  // held on the state folder: one agent at a time
  UniqueFd wake_;  // eventfd

  // Owned by the thread once it runs.
  std::map<Uuid, std::unique_ptr<Instance>> instances_;
  std::map<Uuid, placement::Claim> claims_;
  std::map<Uuid, Reported> reported_;
  // Releasing claims of which nothing is left, not yet finalized, and when to try again.
  std::map<Uuid, Clock::time_point> gone_;
  std::map<Uuid, Clock::time_point> unclaimed_since_;
  std::map<Uuid, Clock::time_point> heal_at_;  // not before
  std::map<Uuid, Uuid> moved_;                 // instance -> claim that is reserved for it here
  Clock::time_point drop_at_{};                // not before
  bool retry_later_ = false;                   // a single report was refused
  bool synced_ = false;
  bool have_host_ = false;
  placement::HostReport host_;
  std::set<PciAddress> unmanaged_;
  std::set<PciAddress> one_time_use_;
  std::map<PciAddress, PciAddress> cards_;
  std::set<PciAddress> ordinary_cards_;
  CpuSet exclusive_;
  bool adjust_ = false;
  Clock::time_point next_adjust_{};
  std::chrono::milliseconds proof_interval_{};
  Clock::time_point next_proof_{};
  Clock::time_point reporting_paused_until_{};

  mutable std::mutex mutex_;
  Inbox inbox_;                   // guarded by mutex_
  std::map<Uuid, View> views_;    // guarded by mutex_
  std::map<Uuid, Proof> proofs_;  // likewise
  bool proving_ = false;          // likewise
  std::atomic<bool> stop_{false};
  std::thread thread_;
  WorkQueue proofs_queue_{1};  // reads /proc, which may take seconds; ends first
};

}  // namespace berth::agent
